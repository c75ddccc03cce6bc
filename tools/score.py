"""Score the pictures of a folder with a saved detector, without training.

    python tools/score.py detector.pt /new/pictures --output /some/results

Writes scores.csv, overlays and report.html. Without --output they lie beside the detector, in scored-FOLDER.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers import detector, files, report  # noqa: E402
from helpers.images import own  # noqa: E402


def main(argv=None) -> int:
    """Score and print what was found and where it lies; 0, or 1 after one sentence on what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a detector that the notebook your-own-pictures saved")
    parser.add_argument("folder", help="the pictures to score")
    parser.add_argument("--output", type=Path, help="the folder for the results")
    given = parser.parse_args(argv)
    try:
        if not (given.model and given.folder):  # Path("") would be the folder here
            raise ValueError("write make score MODEL=detector.pt FOLDER=/new/pictures.")
        print(score(Path(given.model).expanduser().resolve(), Path(given.folder), given.output))
    except (OSError, ValueError) as error:
        print(f"make score: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def score(model_path, folder, output=None) -> Path:
    """Write the results of a folder's pictures, and return the path of the report."""
    model = detector.load(model_path)
    found = detector.look(model, folder)
    output = (output or model_path.parent / f"scored-{found.path.name}").expanduser().resolve()
    if output == model_path.parent:
        raise ValueError(f"{output} holds the detector; name another folder for the results.")
    names = report.names(len(found.pictures))
    files.check_output(output, names)
    if (output / "report.html").exists():
        print(f"This replaces the results of an earlier call in {output}.")
    print("\n".join(own.described(found)))
    judged = detector.judge(model, found)
    with files.renewed(output, report.names(len(judged.lines))):
        report.write(output, judged, found, model, f"Scores of {found.path.name}")
    print(report.counted(judged))
    return output / "report.html"


if __name__ == "__main__":
    sys.exit(main())
