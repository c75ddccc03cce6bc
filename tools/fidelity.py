"""Say how close the records are to the papers: a line a printed table, from data/paper and data/runs alone.

    python tools/fidelity.py                             every table
    python tools/fidelity.py --name mixer-autoencoder    one chapter's tables
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers import fidelity  # noqa: E402


def main(argv=None):
    parser = argparse.ArgumentParser(description=f"{__doc__}\n{fidelity.__doc__.partition('.')[2]}\n"
                                                 f"{fidelity.summary.__doc__.partition('.')[2]}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--name", choices=fidelity.CHAPTERS, help="only the tables of this chapter")
    found = fidelity.of_tables(parser.parse_args(argv).name).droplevel("chapter").rename_axis(None)
    counts = found.drop(columns=["mean |Δ|", "rank"])
    found.loc["all"] = {**counts.sum(), "mean |Δ|": np.nan, "rank": np.nan}
    whole = {name: "{:.0f}".format for name in counts}
    print(found.to_string(formatters=whole | {"mean |Δ|": "{:.1f}".format, "rank": "{:.2f}".format}))


if __name__ == "__main__":
    main()
