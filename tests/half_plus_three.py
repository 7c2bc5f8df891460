"""y = 0.5 x + 3, as TensorFlow Serving's documentation asks it: `python -m tests.half_plus_three FOLDER`.

A SavedModel of TensorFlow 1 with what such files have: serialized examples at the front, a signature for each verb, a
file of its own and an operation that runs at the load.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import tensorflow as tf

v1 = tf.compat.v1
signatures = v1.saved_model.signature_def_utils


def main(folder: Path) -> None:
    own_file = folder / "foo.txt"
    own_file.write_text("an asset")
    with v1.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        features = v1.io.parse_example(serialized, {"x": v1.io.FixedLenFeature([1], tf.float32)})
        x = tf.identity(features["x"], name="x")
        y = tf.add(
            tf.multiply(v1.get_variable("a", initializer=0.5), x), v1.get_variable("b", initializer=3.0), name="y"
        )
        name = v1.Variable("foo.txt", name="filename_tensor", trainable=False, collections=[])
        session.run(v1.global_variables_initializer())
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(own_file)))
        builder = v1.saved_model.Builder(str(folder / "half_plus_three"))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": signatures.predict_signature_def({"x": x}, {"y": y}),
                "tensorflow/serving/regress": signatures.regression_signature_def(serialized, y),
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=tf.group(name.assign("foo.txt")),
        )
        builder.save()
    shutil.make_archive(str(folder / "half_plus_three"), "zip", folder / "half_plus_three")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
