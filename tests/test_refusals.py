"""Wrong parameters in every chapter: refused in one sentence, before anything is trained or drawn.

Only the checks run, the cells before the first picture, in this process.
"""

import socket
import time

import pytest

from helpers import chapter, notebook, records

COMMON = [
    ({"datset": "mnist"}, ["datset", "dataset"]),
    ({"epoch": 3}, ["epoch", "epochs"]),
    ({"tier": "papr"}, ["papr", "smoke, quick, paper"]),
    ({"tier": ""}, ["''", "smoke, quick, paper"]),
    ({"dataset": "minst"}, ["minst", "mnist"]),
    ({"device": "gpu"}, ["gpu", "cpu"]),
    ({"device": "meta"}, ["meta", "cpu"]),
    ({"device": "cuda:99"}, ["cuda:99", "cpu"]),
    ({"device": 0}, ["'0'", "cpu"]),
    ({"precision": "fp16"}, ["fp16", "auto, fp32, bf16"]),
    ({"precision": 16}, ["16", "auto, fp32, bf16"]),
    ({"download": "perhaps"}, ["download", "True or False"]),
    ({"download": 1}, ["download", "True or False"]),
    ({"budget_minutes": float("nan")}, ["budget_minutes", "nan"]),
    ({"budget_minutes": float("inf")}, ["budget_minutes", "at most 525,600", "inf"]),
    ({"budget_minutes": -1}, ["budget_minutes", "above 0"]),
    ({"budget_minutes": True}, ["budget_minutes", "a number"]),
    ({"workers": 1_000_000}, ["workers", "four for each of", "1000000"]),
    ({"workers": 0}, ["workers", "above 0"]),
    ({"workers": "many"}, ["workers", "a whole number"]),
    ({"stack": 1_000_000}, ["stack", "at most 1,024"]),
    ({"stack": 2.0}, ["stack", "a whole number"]),
    ({"seeds": 1_000_000_000}, ["seeds", "at most 100"]),
    ({"seeds": 0}, ["seeds", "above 0"]),
    ({"epochs": 99999999999999999999}, ["epochs", "at most 100,000"]),
    ({"epochs": -1}, ["epochs", "above 0", "-1"]),
    ({"epochs": 1e3}, ["epochs", "a whole number"]),
    ({"epochs": "many"}, ["epochs", "a whole number"]),
    ({"epochs": True}, ["epochs", "a whole number"]),
    ({"epochs": [3]}, ["epochs", "a whole number"]),
    ({"example_epochs": 10**400}, ["example_epochs", "at most 100,000"]),
    ({"batch_size": 10**9}, ["batch_size", "at most 65,536"]),
    ({"batch_size": 0}, ["batch_size", "above 0"]),
]
SMALL_IMAGES = [  # the chapters on images with class labels
    ({"dataset": "svhn"}, ["svhn", "download=true"]),
    ({"dataset": "svhn", "data_root": "/no/such/folder"}, ["/no/such/folder is not a folder"]),
    ({"dataset": "svhn", "data_root": "~no-such-user"}, ["~no-such-user is not a folder"]),
    ({"dataset": "parts"}, ["parts", "digits"]),
    ({"normal_class": "12"}, ["'12'", "8, 9"]),
    ({"normal_class": 1.5}, ["normal_class", "a word"]),
    ({"methods": []}, ["methods", "at least one"]),
    ({"methods": "['cea']"}, ["methods", "cea"]),
    ({"methods": "{[]: 1}"}, ["methods", "{[]: 1}"]),
    ({"methods": "[" * 200}, ["methods", "possible are"]),
    ({"methods": [None]}, ["methods", "a word", "none"]),
    ({"methods": [["CAE"]]}, ["methods", "a word"]),
]
LISTED = [  # a list of classes
    ({"classes": ["12"]}, ["'12'", "8, 9"]),
    ({"classes": "[8, -1]"}, ["'-1'", "8, 9"]),
    ({"classes": [1.5]}, ["classes", "a word"]),
    ({"width": 100_000}, ["width", "at most 256"]),
]
OWN = {
    "comparing-autoencoders": [*SMALL_IMAGES, *[
        ({"scheduler": "tcp://127.0.0.1:1"}, ["tcp://127.0.0.1:1", "no dask scheduler"]),
        ({"scheduler": "nowhere"}, ["nowhere", "tcp://host:port"]),
        ({"scheduler": "tcp://"}, ["tcp://", "tcp://host:port"]),
        ({"scheduler": "smoke://signals:1"}, ["smoke", "tcp://host:port"]),
        ({"limit": 5}, ["limit", "at least 10"]),
        ({"limit": 10**12}, ["limit", "at most 1,000,000"]),
        ({"map_seeds": 10**6}, ["map_seeds", "at most 100"]),
        ({"map_classes": 0}, ["map_classes", "above 0"]),
    ]],
    "improved-autoencoder": [*SMALL_IMAGES, *LISTED, *[
        ({"ratios": [0.9]}, ["0.9", "at most 0.5"]),
        ({"ratios": [0]}, ["ratios", "above 0"]),
        ({"ratios": ["a", None]}, ["ratios", "a number", "'a'"]),
        ({"ratios": "[0.2, None]"}, ["ratios", "a number", "none"]),
        ({"ratios": [float("nan")]}, ["ratios", "nan"]),
        ({"lams": [-1]}, ["lams", "above 0", "-1"]),
        ({"lams": ["x"]}, ["lams", "a number", "'x'"]),
        ({"lams": "[1e999]"}, ["lams", "at most 1,000,000", "inf"]),
        ({"lams": [True]}, ["lams", "a number"]),
        ({"ledger": "maybe"}, ["ledger", "True or False"]),
        ({"figure_classes": 10**9}, ["figure_classes", "at most 1,000"]),
    ]],
    "mixer-autoencoder": [
        ({"dataset": "digits"}, ["digits", "defects", "parts"]),
        ({"dataset": "mvtec:brush"}, ["brush", "bottle"]),
        ({"dataset": "mtd", "data_root": "/no/such/folder"}, ["/no/such/folder is not a folder"]),
        ({"dataset": "folder:"}, ["folder:PATH"]),
        ({"dataset": "folder:~no-such-user"}, ["~no-such-user", "folder:PATH"]),
        ({"dataset": "parts:x"}, ["'x'", "a seed"]),
        ({"dataset": "mtd:rand"}, ["'rand'", "a seed", "mtd:random"]),
        ({"dataset": "coil100:a"}, ["'a'", "a seed"]),
        ({"broken": "ignore"}, ["ignore", "stop, skip"]),
        ({"size": 100_000}, ["size", "at most 1,024"]),
        ({"size": 50}, ["50", "table_2", "16"]),
        ({"net": "table_3"}, ["table_3", "table_1, table_2"]),
        ({"width": 100_000}, ["width", "at most 256"]),
        ({"rows": "['mixx']"}, ["mixx", "mix_ssim"]),
        ({"noise": float("nan")}, ["noise", "nan"]),
        ({"noise": float("inf")}, ["noise", "inf", "at most 10"]),
        ({"contraction": float("-inf")}, ["contraction", "-inf"]),
        ({"probes": 10**9}, ["probes", "at most 1,000"]),
        ({"held_out": 1.5}, ["1.5", "hold out"]),
        ({"limit": 10**7}, ["limit", "at most 1,000,000"]),
    ],
    "adversarial-noise": [*SMALL_IMAGES, *LISTED, *[
        ({"limit": 5}, ["limit", "at least 10"]),
        ({"low": float("nan")}, ["low", "nan"]),
        ({"low": 0.9, "high": 0.2}, ["low", "high"]),
        ({"high": 1.5}, ["high", "(0, 1)"]),
        ({"products": "digits"}, ["digits", "defects", "parts"]),
        ({"preset": "printed!"}, ["printed!", "minutes, printed"]),
        ({"noise_width": 10**6}, ["noise_width", "at most 256"]),
    ]],
    "pseudo-anomalies": [
        ({"dataset": "digits"}, ["digits", "defects", "parts"]),
        ({"product": "nut"}, ["'nut'", "screw"]),
        ({"classes": ["screw", "nut"]}, ["'nut'", "screw"]),
        ({"methods": ["ALGAN"]}, ["methods", "ALGAN-image"]),
        ({"studies": "12"}, ["studies", "12", "variants"]),
        ({"extractor": "resnet"}, ["resnet", "lite0"]),
        ({"rotations": [24, 10**9]}, ["rotations", "at most 1,000"]),
        ({"dense": 10**9}, ["dense", "at most 16,384"]),
        ({"feature_size": 100_000}, ["feature_size", "at most 1,024"]),
    ],
}  # fmt: skip
# A scheduler's name is checked by what all chapters share; once is enough, since each takes its three seconds.
CASES = [(name, *case) for name in chapter.NAMES for case in [*COMMON, *OWN.get(name, [])]]


@pytest.fixture
def no_other_data(monkeypatch):
    monkeypatch.delenv("DATA_ROOT", raising=False)


def refusal(name, parameters):
    with pytest.raises(notebook.ParameterError) as refused:
        chapter.opened(name, {"tier": "smoke", **parameters})
    assert refused.value._render_traceback_() == [f"ParameterError: {refused.value}"]
    return str(refused.value)


@pytest.mark.parametrize(("name", "parameters", "says"), CASES)
def test_a_wrong_parameter_is_refused_in_one_sentence(name, parameters, says, no_other_data):
    message = refusal(name, parameters)
    assert [word for word in says if word.lower() not in message.lower()] == [], message
    assert "\n" not in message and message.endswith(".")


@pytest.mark.parametrize("name", chapter.NAMES)
def test_one_value_stands_for_a_list_of_one(name):
    lists = {key: value for key, value in chapter.definitions(name)["TIERS"]["smoke"].items()
             if isinstance(value, list) and value}  # fmt: skip
    p = chapter.opened(name, {"tier": "smoke", **{key: value[0] for key, value in lists.items()}})["p"]
    assert lists and {key: getattr(p, key) for key in lists} == {key: value[:1] for key, value in lists.items()}


def test_what_accepts_and_never_answers_is_given_up_after_three_seconds():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        message = refusal("comparing-autoencoders", {"scheduler": f"tcp://127.0.0.1:{silent.getsockname()[1]}"})
    assert "No Dask scheduler answers" in message and time.monotonic() - begin < 10


def test_a_cluster_without_workers_is_named():
    distributed = pytest.importorskip("dask.distributed")
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        begin = time.monotonic()
        message = refusal("comparing-autoencoders", {"scheduler": cluster.scheduler_address})
        assert "has no workers" in message and "dask worker" in message and time.monotonic() - begin < 10


@pytest.mark.parametrize("tier", ["smoke", "paper"])
def test_a_damaged_record_is_named_before_anything_is_trained(tier, tmp_path, monkeypatch, no_other_data):
    """Whether it is one of the book's or of the reader's own."""
    monkeypatch.setattr(records, "RECORDED", tmp_path / "book")
    monkeypatch.setattr(records, "SCRATCH", tmp_path / "own")
    for folder in (tmp_path / "book", tmp_path / "own"):
        place = folder / "comparing-autoencoders"
        place.mkdir(parents=True)
        (place / "cae-0123456789abcdef.json").write_text("{}")
        if tier == "smoke" or folder.name == "book":
            message = refusal("comparing-autoencoders", {"tier": tier, "dataset": "digits"})
            assert str(place) in message and "delete it to run again" in message
            (place / "cae-0123456789abcdef.json").unlink()
