"""Models that take and give texts, in a folder: `python -m tests.text_models FOLDER`. TensorFlow stays in memory."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import keras
import onnx
import tensorflow as tf
from keras import layers
from onnx import TensorProto, helper

REVIEWS = ["the film was good", "a bad film", "good and great", "awful bad thing"]


def moods() -> keras.Model:
    """A text to a score, vocabulary inside."""
    keras.utils.set_random_seed(1)
    words = layers.TextVectorization(max_tokens=50, output_sequence_length=6)
    words.adapt(REVIEWS)
    numbers = [layers.Embedding(50, 4), layers.GlobalAveragePooling1D(), layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((1,), dtype="string"), words, *numbers])


def pets() -> keras.Model:
    """A word beside numbers to two scores."""
    keras.utils.set_random_seed(1)
    word, size = keras.Input((1,), dtype="string", name="word"), keras.Input((2,), name="size")
    number = layers.StringLookup(vocabulary=["cat", "dog"], output_mode="one_hot")(word)
    return keras.Model([word, size], layers.Dense(2)(layers.Concatenate()([number, size])))


def animals() -> keras.Model:
    """Numbers to words. Keras says that the answers are numbers."""
    numbers = keras.Input((2,), dtype="int64", name="numbers")
    return keras.Model(numbers, layers.StringLookup(vocabulary=["cat", "dog"], invert=True, name="words")(numbers))


class Decoding(tf.Module):
    """Encoded pictures to their mean colour, their kind and their first bytes, as models exported for serving are."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: Any) -> Any:
        def mean(encoded: Any) -> Any:
            picture = tf.io.decode_image(encoded, channels=3, expand_animations=False)
            return tf.reduce_mean(tf.cast(picture, tf.float32), axis=[0, 1])

        colours = tf.map_fn(mean, image_bytes, fn_output_signature=tf.TensorSpec([3], tf.float32))
        kind, head = tf.strings.substr(image_bytes, 1, 3), tf.strings.substr(image_bytes, 0, 4)
        return {"colour": colours, "kind": kind, "head_bytes": head}


def upper() -> onnx.ModelProto:
    """Texts to the same in capitals, in ONNX."""
    node = helper.make_node("StringNormalizer", ["text"], ["capitals"], case_change_action="UPPER", locale="C")
    ends = [helper.make_tensor_value_info(name, TensorProto.STRING, [None]) for name in ("text", "capitals")]
    graph = helper.make_graph([node], "upper", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def main(folder: Path) -> None:
    model = moods()
    model.save(folder / "moods.keras")
    model.export(str(folder / "exported"), verbose=False)
    pets().save(folder / "pets.keras")
    animals().save(folder / "animals.keras")
    decoding = Decoding()
    tf.saved_model.save(decoding, str(folder / "decoding"), signatures={"serving_default": decoding.serve})
    for name in ("exported", "decoding"):
        shutil.make_archive(str(folder / name), "zip", folder / name)
        shutil.rmtree(folder / name)
    onnx.save(upper(), str(folder / "upper.onnx"))
    answers = model(tf.constant([[REVIEWS[0]], ["awful café"]]))
    (folder / "moods.txt").write_text(" ".join(str(float(answer)) for answer in answers.numpy().ravel()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
