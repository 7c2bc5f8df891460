"""`python -m inference.conversion PARENT`: one conversion, asked for as JSON on standard input.

Answers `{"progress": n, "detail": sentence}` lines, then one of `{"signature": …, "names": …}`,
`{"cannot": operation, "sentence": …}`, `{"failed": sentence}`.
"""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.conversion import CannotConvert
from inference.engines import ENGINES_BY_FORMAT, EngineSettings, ModelUnusable, first_line, open_engine
from inference.limited_child import Said, begin_child, end_child


def main() -> None:
    request, say = begin_child()
    try:
        say(**_convert(request, lambda percent, detail: say(progress=percent, detail=detail)))
    except CannotConvert as answer:
        say(cannot=answer.operation, sentence=answer.sentence)
    except ModelUnusable as refusal:
        say(failed=str(refusal))
    except MemoryError:
        say(failed="There was not enough memory to convert the model.")
    except Exception as error:
        traceback.print_exc()
        say(failed=f"The conversion to {request['target']} failed: {first_line(error)}")
    end_child()


def _convert(request: Said, progress: Callable[[int, str], None]) -> dict[str, Any]:
    source, path = Path(request["source"]), Path(request["path"])
    source_format, target = str(request["source_format"]), str(request["target"])
    engine_name = ENGINES_BY_FORMAT[source_format][0]
    progress(5, f"Opening the file with {engine_name}.")
    settings = EngineSettings(
        graph_inputs=tuple(request["graph_inputs"]), graph_outputs=tuple(request["graph_outputs"])
    )
    engine: Any = open_engine(engine_name, source, source_format, settings)
    names: dict[str, str] = {}
    progress(30, f"Converting it to {target}.")
    if target == source_format:
        shutil.copyfile(source, path)
    elif engine_name == "tensorflow":
        from inference.conversion.from_tensorflow import convert_traced

        names = convert_traced(engine.traced, target, path, progress)
    else:
        from inference.conversion.to_openvino import convert_file

        convert_file(source, source_format, engine, path)
    progress(95, "Keeping the converted file.")
    return {"signature": engine.signature.as_json(), "names": names}


if __name__ == "__main__":
    main()
