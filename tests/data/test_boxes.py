"""Pictures with boxes: Pascal VOC and COCO as people have them, and what is said where they are broken."""

import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from generated import write_raw
from PIL import Image

from pipeline.formats import coco, pascal_voc

SIZE = {"height": 30, "width": 30, "mode": "RGB"}


def annotation(*objects: tuple[str, float, float, float, float], size: str = "") -> str:
    rows = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in objects
    )
    return f"<annotation>{size}{rows}</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Three pictures of 60 × 40 pixels and a list of two of them."""
    root = tmp_path / "set" / "VOC"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for name, objects in {
        "a": [("cat", 6, 4, 30, 20), ("dog", 10, 10, 10, 10)],
        "b": [],
        "c": [("dog", -6, 10, 66, 30), ("cat", 70, 10, 80, 30)],
    }.items():
        (root / "Annotations" / f"{name}.xml").write_text(
            annotation(*objects, size="<size><width>60</width><height>40</height></size>")
        )
        Image.new("RGB", (60, 40), "red").save(root / "JPEGImages" / f"{name}.JPG")
    (root / "ImageSets/Main/train.txt").write_text("c\na\n\n")
    return tmp_path / "set"


def complaint(folder: Path, **options: object) -> str:
    with pytest.raises(ValueError) as caught:
        pascal_voc(folder, **{"directory": "VOC", "image_set": "train", **SIZE, **options})
    assert type(caught.value) is ValueError and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_list_gives_pictures_in_its_order_with_boxes_moved_along(voc: Path) -> None:
    found = pascal_voc(voc, directory="VOC", image_set="train", **SIZE)
    assert found.names == ["VOC/JPEGImages/c.JPG", "VOC/JPEGImages/a.JPG"]
    assert found.pixels.shape == (2, 3, 30, 30) and found.pixels.dtype == np.uint8
    assert found.sizes.tolist() == [[40, 60], [40, 60]]
    assert (found.pixels[:, 0, :20] > 250).all() and (found.pixels[:, :, 20:] == 0).all(), "black fills the square"
    assert found.labels == [["dog"], ["cat"]]
    assert found.boxes[1].tolist() == [[3, 2, 15, 10]] and found.boxes[1].dtype == np.float32


def test_boxes_beyond_the_picture_are_cut_and_empty_ones_dropped_and_both_are_counted(voc: Path) -> None:
    found = pascal_voc(voc, directory="VOC", image_set="train", **SIZE)
    assert found.boxes[0].tolist() == [[0, 5, 30, 15]]
    assert found.warnings == (
        "2 boxes without area in the picture left out (first: VOC/JPEGImages/c.JPG)",
        "1 box cut at the edge of the picture (first: VOC/JPEGImages/c.JPG)",
    )


def test_without_a_list_all_pictures_are_taken_also_those_without_objects(voc: Path) -> None:
    found = pascal_voc(voc, directory="VOC", **SIZE)
    assert [Path(name).stem for name in found.names] == ["a", "b", "c"] and found.boxes[1].shape == (0, 4)


def test_a_small_picture_is_made_larger(voc: Path) -> None:
    found = pascal_voc(voc, directory="VOC", image_set="train", height=80, width=200, mode="L")
    assert found.pixels.shape == (2, 1, 80, 200) and found.boxes[1].tolist() == [[12, 8, 60, 40]]


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("JPEGImages/a.JPG", b"\xff\xd8 no picture", "a.JPG: not readable as an image"),
        ("JPEGImages/a.JPG", None, "annotation a has no picture; add JPEGImages/a.jpg or remove the name"),
        ("Annotations/a.xml", None, "picture a has no annotation; add Annotations/a.xml or remove the name"),
        ("Annotations/a.xml", b"<annotation><object>", "a.xml: not readable as XML (no element found"),
        ("Annotations/a.xml", b"<!DOCTYPE x [<!ENTITY y 'z'>]><annotation/>", "a.xml: defines entities"),
        (
            "Annotations/a.xml",
            "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE x [<!ENTITY y 'z'>]><annotation/>".encode("utf-16"),
            "a.xml: defines entities",
        ),
        ("Annotations/a.xml", annotation(("", 1, 2, 3, 4)).encode(), "a.xml, object 1: has no <name>"),
        (
            "Annotations/a.xml",
            annotation(("x", 1, "two", 3, 4)).encode(),
            "a.xml, object 1: found 'two' for bndbox/ymin",
        ),
        (
            "Annotations/a.xml",
            annotation(("x", 1, "nan", 3, 4)).encode(),
            "object 1: found 'nan' for bndbox/ymin; allow",
        ),
        (
            "Annotations/a.xml",
            annotation(size="<size><width>40</width><height>60</height></size>").encode(),
            "a.JPG: the picture has 60 × 40 pixels, but its annotation was made for 40 × 60",
        ),
        (
            "ImageSets/Main/train.txt",
            b"a\nb 1\n",
            "train.txt, line 2: found 'b 1'; allowed: the name of a picture alone",
        ),
        ("ImageSets/Main/train.txt", b"a\nd 1\n", "train.txt: picture d 1 has no annotation"),
        ("Annotations/a.xml", b"<html><body/></html>", "a.xml: found <html>; allowed: <annotation>"),
        ("ImageSets/Main/train.txt", b"a\nb\na\n", "train.txt, line 3: a stands already in line 1"),
        ("ImageSets/Main/train.txt", b"aa\n", "picture aa has no annotation"),
        ("ImageSets/Main/train.txt", b"\n", "train.txt: names no pictures"),
        ("ImageSets/Main/train.txt", None, "train.txt: no such file"),
        ("ImageSets/Main/train.txt", "é\n".encode("latin-1"), "train.txt: not readable as UTF-8"),
        ("JPEGImages/a.png", b"", "a.png: a.JPG has the same name; keep one of them"),
    ],
)
def test_what_is_broken_is_named_in_one_sentence(voc: Path, file: str, content: bytes | None, expected: str) -> None:
    path = voc / "VOC" / file
    path.unlink() if content is None else path.write_bytes(content)
    assert expected in complaint(voc)


def test_a_missing_folder_is_named_with_what_is_there(voc: Path) -> None:
    shutil.move(voc / "VOC/JPEGImages", voc / "VOC/Images")
    assert "JPEGImages: no such folder; pascal_voc needs Annotations and JPEGImages" in complaint(voc)
    assert "Annotations, ImageSets, Images" in complaint(voc)
    assert "VOX: no such folder; " in complaint(voc, directory="VOX")
    assert "data.options.height: found 0" in complaint(voc, height=0)
    assert "data.options.mode: found 'CMYK'" in complaint(voc, mode="CMYK")


def test_a_mark_before_the_first_name_of_a_list_is_no_name(voc: Path) -> None:
    (voc / "VOC/ImageSets/Main/train.txt").write_text("a\nc\n", encoding="utf-8-sig")
    found = pascal_voc(voc, directory="VOC", image_set="train", **SIZE)
    assert found.names == ["VOC/JPEGImages/a.JPG", "VOC/JPEGImages/c.JPG"]


def test_names_with_accents_and_blanks_are_found_however_they_are_written(voc: Path) -> None:
    apart, together = (unicodedata.normalize(form, "é a") for form in ("NFD", "NFC"))
    for path in ("Annotations/a.xml", "JPEGImages/a.JPG"):
        old = voc / "VOC" / path
        old.rename(old.with_name(apart + old.suffix))
    (voc / "VOC/ImageSets/Main/train.txt").write_text(f"{together}\nc\n", encoding="utf-8")
    found = pascal_voc(voc, directory="VOC", image_set="train", **SIZE)
    assert [Path(name).stem for name in found.names] == [apart, "c"]


def test_a_set_without_lists_is_told_as_such(voc: Path) -> None:
    shutil.rmtree(voc / "VOC/ImageSets")
    message = complaint(voc)
    assert "ImageSets/Main/train.txt: no such file; the folder has Annotations, JPEGImages" in message


def test_sizes_of_zero_say_nothing(voc: Path) -> None:
    sides = "<size><width>0</width><height>0</height></size>"
    (voc / "VOC/Annotations/a.xml").write_text(annotation(("cat", 6, 4, 30, 20), size=sides))
    assert pascal_voc(voc, directory="VOC", image_set="train", **SIZE).boxes[1].tolist() == [[3, 2, 15, 10]]


def document() -> dict:
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "height": 40, "width": 60},
            {"id": 3, "file_name": "a.png"},
        ],
        "annotations": [
            {"image_id": 3, "category_id": 2, "bbox": [6, 4, 24, 16], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 60, 40.0]},
            {"image_id": 3, "category_id": 2, "bbox": [1, 1, 5, 5], "iscrowd": 1},
            {"image_id": 3, "category_id": 1, "bbox": [1, 1, 0, 5]},
        ],
        "categories": [{"id": 2, "name": "cat"}, {"id": 1, "name": "dog"}],
    }


@pytest.fixture
def common(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for name in ("a", "b", "extra"):
        Image.new("RGB", (60, 40), "blue").save(tmp_path / "pictures" / f"{name}.png")
    (tmp_path / "boxes.json").write_text(json.dumps(document()))
    return tmp_path


def test_coco_gives_pictures_in_the_order_of_the_file(common: Path) -> None:
    found = coco(common, images="pictures", annotations="boxes.json", **SIZE)
    assert found.names == ["pictures/b.png", "pictures/a.png"] and found.labels == [["dog"], ["cat"]]
    assert [boxes.tolist() for boxes in found.boxes] == [[[0, 0, 30, 20]], [[3, 2, 15, 10]]]
    assert found.warnings == (
        f"1 picture in {common}/pictures not named in `images` and ignored",
        "1 box around crowds (iscrowd) left out",
        "1 box without area in the picture left out (first: pictures/a.png)",
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["images"].append({"id": 4, "file_name": "z.png"}), "images[2]: its picture"),
        (lambda d: d["images"].append({"id": 3, "file_name": "a.png"}), "images[2]: the id 3 occurs twice"),
        (
            lambda d: d["images"].append({"id": 4, "file_name": "./a.png"}),
            "a.png has an earlier entry, too; put all boxes",
        ),
        (lambda d: d["images"][0].update(file_name="../b.png"), "images[0]: found '../b.png'; allowed:"),
        (lambda d: d["images"][0].update(file_name=os.path.abspath("b.png")), "named relative to it"),
        (lambda d: d["images"][0].update(file_name="b" * 5000), "images[0]: its picture"),
        (lambda d: d["categories"].append({"id": 1, "name": "cow"}), "categories[2]: dog has the id 1, too; give each"),
        (lambda d: d["categories"][0].update(name=" "), "categories[0]: found ' ' for name; allowed: text"),
        (
            lambda d: d["categories"][0].update(name="c\ud83d"),
            "categories[0]: found 'c\\ud83d' for name; allowed: text",
        ),
        (lambda d: d["annotations"][0].update(iscrowd="0"), "annotations[0]: found '0' for iscrowd; allowed: 0, 1"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3, 10**400]), "annotations[0]: found [1, 2, 3, 1000"),
        (
            lambda d: d["annotations"][1].update(image_id=9),
            "annotations[1]: found image_id 9, which no entry of `images`",
        ),
        (lambda d: d["annotations"][1].update(category_id=9), "annotations[1]: found category_id 9, which no entry of"),
        (
            lambda d: d["annotations"][0].update(bbox=[1, 2, 3]),
            "annotations[0]: found [1, 2, 3] for bbox; allowed: four",
        ),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3, None]), "annotations[0]: found [1, 2, 3, None] for bbox"),
        (lambda d: d["categories"][0].pop("name"), "categories[0]: found None for name; allowed: text"),
        (lambda d: d.pop("categories"), "has no list of objects `categories`"),
        (lambda d: d["images"][0].update(width="60"), "images[0]: found '60' for width; allowed: a whole number"),
        (lambda d: d["images"].clear(), "`images` names no pictures"),
    ],
)
def test_entries_that_do_not_fit_together_are_named(common: Path, change, expected: str) -> None:
    changed = document()
    change(changed)
    (common / "boxes.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError) as caught:
        coco(common, images="pictures", annotations="boxes.json", **SIZE)
    assert expected in str(caught.value) and "boxes.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_mark_before_json_is_no_fault_and_brackets_without_end_are_one(common: Path) -> None:
    (common / "boxes.json").write_text(json.dumps(document()), encoding="utf-8-sig")
    assert len(coco(common, images="pictures", annotations="boxes.json", **SIZE).names) == 2
    (common / "boxes.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"boxes\.json: not readable as JSON"):
        coco(common, images="pictures", annotations="boxes.json", **SIZE)


def test_what_files_of_several_sources_have_is_no_fault(common: Path) -> None:
    given = document()
    given["categories"].append({"id": 1, "name": "dog"})
    given["annotations"][1]["iscrowd"] = None
    (common / "boxes.json").write_text(json.dumps(given))
    assert coco(common, images="pictures", annotations="boxes.json", **SIZE).labels == [["dog"], ["cat"]]


def test_a_file_that_is_no_json_is_named(common: Path) -> None:
    (common / "boxes.json").write_text("{")
    with pytest.raises(ValueError, match=r"boxes\.json: not readable as JSON \(Expecting"):
        coco(common, images="pictures", annotations="boxes.json", **SIZE)


def test_the_shapes_of_the_tests_are_where_their_boxes_say(tmp_path: Path) -> None:
    write_raw(tmp_path / "shapes")
    found = pascal_voc(tmp_path / "shapes", directory=".", image_set="train", height=40, width=48, mode="RGB")
    for pixels, boxes in zip(found.pixels, found.boxes, strict=True):
        for left, top, right, bottom in boxes.astype(int):
            assert pixels[:, (top + bottom) // 2, (left + right) // 2].max() >= 200
