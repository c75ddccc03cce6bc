import importlib.util
import pathlib
import subprocess
import sys

if importlib.util.find_spec("helpers") is None:  # not installed: take the checkout here
    here = pathlib.Path.cwd()
    around = [folder for folder in (here, here.parent) if (folder / "helpers").is_dir()]
    root = around[0] if around else here / "annotated-anomaly"
    colab = "google.colab" in sys.modules
    if not root.exists():
        if not colab:
            raise ImportError("helpers is not installed: run `pip install -e .` in the "
                              "checkout of the book.")
        url = "REPOSITORY"
        subprocess.run(["git", "clone", "--quiet", "--depth=1", url, root], check=True)
    if colab:  # also where an earlier try ended before pip did
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "-e", root]
        subprocess.run(pip, check=True)
    sys.path.insert(0, str(root))
