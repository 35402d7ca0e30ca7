import gzip
import os
import struct
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.formats import FORMATS, class_folders, csv_series, idx, pixel_table
from pipeline.formats.image import check_name

SHARED = Path(__file__).parents[3] / "shared" / "data"


def complaint(function, *arguments, **options) -> str:
    with pytest.raises(ValueError) as caught:
        function(*arguments, **options)
    assert type(caught.value) is ValueError  # shown without traceback
    return str(caught.value)


# pixel_table


def digits(**changes):
    from importlib.util import find_spec

    folder = Path(find_spec("sklearn").submodule_search_locations[0]) / "datasets" / "data"
    options = {"file": "digits.csv.gz", "height": 8, "width": 8, "channels": 1, "maximum": 16} | changes
    return pixel_table(folder, **options)


def table(folder: Path, text: str, **changes):
    (folder / "t.csv").write_bytes(text.encode())
    return pixel_table(folder, **{"file": "t.csv", "height": 1, "width": 2, "channels": 1, "maximum": 16} | changes)


def test_digits_of_scikit_learn_are_read_pixel_by_pixel():
    found = digits()
    assert found.pixels.shape == (1797, 1, 8, 8) and found.pixels.dtype == np.uint8
    assert found.pixels[0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert found.labels[:5].tolist() == [0, 1, 2, 3, 4] and found.maximum == 16
    assert digits(rows=[10, 12]).labels.tolist() == [0, 1]


def test_pixel_table_reads_channels_rows_columns_header_byte_order_mark_and_windows_lines(tmp_path):
    found = table(tmp_path, "\ufeffa,b,c,d,e,f,label\r\n1,2,3,4,5,6,cat\r\n\r\n5,6,7,8,9,16.0,dog\r\n", channels=3)
    assert found.pixels.tolist() == [[[[1, 2]], [[3, 4]], [[5, 6]]], [[[5, 6]], [[7, 8]], [[9, 16]]]]
    assert found.labels.tolist() == ["cat", "dog"]


def test_a_header_that_counts_the_pixels_is_no_picture(tmp_path):
    assert table(tmp_path, "0,1,label\n3,4,cat\n5,6,dog\n").labels.tolist() == ["cat", "dog"]
    assert table(tmp_path, "0,1,mouse\n3,4,cat\n5,6,dog\n").labels.tolist() == ["mouse", "cat", "dog"]


def test_numeric_labels_sort_as_numbers(tmp_path):
    assert np.unique(table(tmp_path, "0,0,10\n0,0,9\n").labels).tolist() == [9, 10]
    assert np.unique(table(tmp_path, "0,0,10\n0,0,9a\n").labels).tolist() == ["10", "9a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,a\n1,x,b\n", ["t.csv, line 2, column 2: found 'x'"]),
        (
            '1,2,a\n1,2,"b\n1,2,c"\n',
            ["t.csv, line 2: a field in quotation marks goes on to line 3 and holds what looks"],
        ),
        ('1,2,a\n1,2,"b\n1,2,c\n', ["t.csv, line 2: a field in quotation marks goes on to line 3"]),
        ('1,2,a\n1,2,"b\n1,2,c\n1,2,"d\n', ["t.csv, line 2: a field in quotation marks goes on to line 4"]),
        ("1,2,a\n1,17,b\n", ["line 2, column 2: found '17'", "from 0 to 16"]),
        ("1,2,a\n1,-1,b\n", ["line 2, column 2: found '-1'"]),
        ("1,2,a\n\n1,1.5,b\n", ["line 3, column 2: found '1.5'"]),
        ("1,2,a\n1,NA,b\n", ["line 2, column 2: found 'NA'", "a whole number from 0 to 16"]),
        ("1,2,a\n1,,b\n", ["line 2, column 2: found ''"]),
        ("1,2,a\n1,2\n", ["line 2: found 2 columns; allowed: 3 (1 × 1 × 2 pixels and a label)"]),
        ("1,2,a\n1,2, \n", ["line 2, column 3: the label is missing"]),
        ("a,b,c\n", ["the file has no rows"]),
        ("", ["the file is empty"]),
    ],
)
def test_a_bad_pixel_table_is_refused_with_line_and_column(tmp_path, text, expected):
    message = complaint(table, tmp_path, text)
    assert all(part in message for part in [*expected, "t.csv"]), message


def test_a_damaged_gzip_file_is_named(tmp_path):
    packed = gzip.compress(b"1,2,a\n" * 1000)
    for data in (packed[:-20], packed[:15] + b"\x00\xff" + packed[17:]):
        (tmp_path / "t.csv").write_bytes(data)
        message = complaint(pixel_table, tmp_path, file="t.csv", height=1, width=2, channels=1, maximum=16)
        assert "t.csv" in message and "gzip" in message, message


def test_a_size_that_is_no_size_is_refused(tmp_path):
    assert "data.options.maximum: found 256; allowed: a whole number from 1 to 255" in complaint(
        table, tmp_path, "1,2,a\n", maximum=256
    )
    assert "data.options.width: found '2'" in complaint(table, tmp_path, "1,2,a\n", width="2")


@pytest.mark.parametrize("rows", [[0, 3], [1, 1], [-1, 2], [0], "0-2", [0.0, 2.0]])
def test_a_row_range_outside_the_file_is_refused(tmp_path, rows):
    assert "end <= 2, as the file has 2 rows" in complaint(table, tmp_path, "1,2,a\n1,2,b\n", rows=rows)


# files and folders


def test_missing_folders_and_files_say_what_to_do(tmp_path):
    options = {"file": "digit.csv", "height": 1, "width": 2, "channels": 1, "maximum": 16}
    message = complaint(pixel_table, tmp_path / "digits", **options)
    assert "digits: no such folder" in message and "dvc repro fetch@digits" in message and "dvc add" in message
    assert "the folder has no files" in complaint(pixel_table, tmp_path, **options)
    (tmp_path / "digits.csv").write_text("1,2,a\n")
    assert "digit.csv: no such file; did you mean digits.csv?" in complaint(pixel_table, tmp_path, **options)
    assert "this is a file" in complaint(pixel_table, tmp_path / "digits.csv", **options)


# idx


def idx_bytes(array: np.ndarray, magic: int) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_pair(tmp_path):
    (tmp_path / "images").write_bytes(idx_bytes(np.arange(24).reshape(4, 2, 3), 2051))
    (tmp_path / "labels.gz").write_bytes(gzip.compress(idx_bytes(np.array([3, 1, 3, 1]), 2049)))
    return tmp_path


def test_idx_is_read_plain_and_gzipped(idx_pair):
    found = idx(idx_pair, images="images", labels="labels.gz")
    assert found.pixels.shape == (4, 1, 2, 3) and found.pixels[1].tolist() == [[[6, 7, 8], [9, 10, 11]]]
    assert found.labels.tolist() == [3, 1, 3, 1] and found.labels.dtype == np.int64 and found.maximum == 255


def test_damaged_idx_files_are_refused(idx_pair):
    whole = (idx_pair / "images").read_bytes()
    for data, expected in (
        (whole[:-1], "found 39 bytes where the header promises 40"),
        (whole + b"x", "found 41 bytes where the header promises 40"),
        (whole[:10], "found 10 bytes, too few for the header"),
        (b"", "the file is empty"),
        (b"<html>no such file</html>", "found the magic number 1013478509; allowed: 2051 (images)"),
        (gzip.compress(whole)[:-9], "the gzip file is damaged"),
        (gzip.compress(whole)[:30], "the gzip file is damaged"),
    ):
        (idx_pair / "images").write_bytes(data)
        message = complaint(idx, idx_pair, images="images", labels="labels.gz")
        assert expected in message and "images" in message, message


@pytest.mark.parametrize("shape", [(0, 4), (2**31, 2**31)])
def test_sizes_in_an_idx_header_that_cannot_be_are_refused(idx_pair, shape):
    header = struct.pack(">4I", 2051, 4, *shape)
    (idx_pair / "images").write_bytes(header)
    message = complaint(idx, idx_pair, images="images", labels="labels")
    assert f"{idx_pair / 'images'}: " in message and ("which is nothing" in message or "promises" in message)


def test_swapped_and_foreign_idx_files_are_refused(idx_pair):
    message = complaint(idx, idx_pair, images="labels.gz", labels="images")
    assert "it holds labels, are images and labels swapped?" in message
    (idx_pair / "labels.gz").write_bytes(idx_bytes(np.array([1, 2]), 2049))
    message = complaint(idx, idx_pair, images="images", labels="labels.gz")
    assert "images has 4 images, but labels.gz has 2 labels" in message


def test_fashion_mnist_is_read_as_published():
    folder = SHARED / "fashion-mnist"
    if not folder.is_dir():
        pytest.skip("the Fashion-MNIST files are not on this machine (../shared/data/fashion-mnist)")
    found = idx(folder, images="train-images-idx3-ubyte.gz", labels="train-labels-idx1-ubyte.gz")
    assert found.pixels.shape == (60000, 1, 28, 28) and np.bincount(found.labels).tolist() == [6000] * 10
    assert found.pixels.mean() / 255 == pytest.approx(0.2860, abs=5e-5)  # as the publisher says


# class_folders


def save(path: Path, color: object, mode: str = "RGB", size: tuple[int, int] = (6, 4), **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)


def test_class_folders_are_sorted_and_other_files_are_counted(tmp_path):
    save(tmp_path / "train" / "dog" / "b.PNG", (255, 0, 0))
    save(tmp_path / "train" / "dog" / "a.png", (0, 255, 0))
    save(tmp_path / "train" / "cat" / "deep" / "c.bmp", (0, 0, 255))
    for name in ("notes.txt", "cat/readme.md", ".DS_Store", "cat/._c.bmp", "__MACOSX/c.png"):
        (tmp_path / "train" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "train" / name).write_text("no image")
    found = class_folders(tmp_path, directory="train", height=2, width=3, mode="RGB")
    assert found.names == ["train/cat/deep/c.bmp", "train/dog/a.png", "train/dog/b.PNG"]
    assert found.labels.tolist() == ["cat", "dog", "dog"] and found.pixels.shape == (3, 3, 2, 3)
    assert found.pixels[:, :, 0, 0].tolist() == [[0, 0, 255], [0, 255, 0], [255, 0, 0]]
    assert len(found.warnings) == 1 and found.warnings[0].startswith("2 files in ")


def test_class_folders_refuse_what_is_no_picture_by_name(tmp_path):
    options = {"directory": ".", "height": 2, "width": 2, "mode": "L"}
    assert "found no folders with images" in complaint(class_folders, tmp_path, **options)
    save(tmp_path / "cat" / "a.png", 0, "L")
    for name, data in (("empty.jpg", b""), ("text.png", b"hello"), ("cut.png", None)):
        path = tmp_path / "cat" / name
        path.write_bytes((tmp_path / "cat" / "a.png").read_bytes()[:-25] if data is None else data)
        message = complaint(class_folders, tmp_path, **options)
        assert f"{path}: not readable as an image" in message and "remove it" in message, message
        path.unlink()
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.txt").write_text("")
    assert f"{tmp_path / 'dog'}: this class folder has no images" in complaint(class_folders, tmp_path, **options)


def test_class_folders_name_what_is_missing_or_not_allowed(tmp_path):
    options = {"directory": "trian", "height": 2, "width": 2, "mode": "L"}
    (tmp_path / "train").mkdir()
    assert "trian: no such folder;" in complaint(class_folders, tmp_path, **options)
    assert "has train" in complaint(class_folders, tmp_path, **options)
    assert "no such folder; fetch it" in complaint(class_folders, tmp_path / "x", **options)
    assert "data.options.mode: found 'RGBA'; allowed: L (grey), RGB" in complaint(
        class_folders, tmp_path, **options | {"mode": "RGBA"}
    )


# csv_series


def series(folder: Path, text: str, **changes):
    (folder / "s.csv").write_bytes(text.encode())
    return csv_series(folder, **{"file": "s.csv", "date": "date", "date_format": "%Y%m%d", "columns": ["a"]} | changes)


def test_co2_of_statsmodels_has_its_59_gaps():
    from importlib.util import find_spec

    folder = Path(find_spec("statsmodels").submodule_search_locations[0]) / "datasets" / "co2"
    found = csv_series(folder, file="co2.csv", date="date", date_format="%Y%m%d", columns=["co2"])
    assert found.values.shape == (2284, 1) and np.isnan(found.values).sum() == 59
    assert str(found.times[0]) == "1958-03-29T00:00:00" and found.values[0, 0] == 316.1


def test_etth1_is_read_whole_and_by_rows():
    folder = SHARED / "ett"
    if not folder.is_dir():
        pytest.skip("ETTh1.csv is not on this machine (../shared/data/ett); it may not be passed on in part")
    columns = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    options = {"file": "ETTh1.csv", "date": "date", "date_format": "ISO8601", "columns": columns}
    found = csv_series(folder, **options)
    assert found.values.shape == (17420, 7) and not np.isnan(found.values).any()
    part = csv_series(folder, **options, rows=[8640, 11520])
    assert len(part.times) == 2880 and part.times[0] == found.times[0] + np.timedelta64(8640, "h")


def test_blanks_and_na_are_missing_and_other_columns_may_hold_text(tmp_path):
    text = "note,date,a\nx,20200101,1\ny,20200102,\nz,20200103, NA \n,20200104,nan\nw\u0085v,20200105,-2e1\n"
    found = series(tmp_path, text)
    assert np.isnan(found.values[:, 0]).tolist() == [False, True, True, True, False]
    assert found.values[4, 0] == -20.0 and found.columns == ["a"]


def test_dates_are_read_in_many_forms(tmp_path):
    zones = series(tmp_path, "date,a\n2020-01-01T00:00:00+02:00,1\n2020-01-01 00:00Z,2\n", date_format="ISO8601")
    assert zones.times.astype(str).tolist() == ["2019-12-31T22:00:00", "2020-01-01T00:00:00"]
    years = series(tmp_path, "date,a\n1700,1\n1701,2\n", date_format="%Y")
    assert years.times[0] == np.datetime64("1700-01-01T00:00:00")


def test_text_of_several_lines_beside_a_series_is_no_fault(tmp_path):
    text = 'date,"note\n(free)",a\n20200101,"first\nsecond",1\n"20200102" ,"5" pipe",2\n'
    assert series(tmp_path, text).values[:, 0].tolist() == [1, 2]


def test_fractions_of_a_second_are_cut_off(tmp_path):
    text = "date,a\n2020-01-01T00:00:00.004,1\n2020-01-01T00:10:00.007,2\n"
    found = series(tmp_path, text, date_format="ISO8601")
    assert (found.times[1] - found.times[0]).astype(int) == 600
    message = complaint(series, tmp_path, text.replace(":10:", ":00:"), date_format="ISO8601")
    assert "occurs twice; keep one row for every date (which counts in whole seconds)" in message


def test_dates_that_cannot_be_kept_are_refused(tmp_path):
    for text in ("9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+01:00"):
        message = complaint(series, tmp_path, f"date,a\n{text},1\n", date_format="ISO8601")
        assert f"s.csv, line 2, column 'date': found '{text}', which is not a date of the form" in message
    assert "which is not a date of the form" in complaint(series, tmp_path, "date,a\n2020,1\n", date_format="%Y %Y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("date,a\n20200101,1\n20200102,12x\n", "s.csv, line 3, column 'a': found '12x'; allowed: a number"),
        ("date,a\n20200101,1_000\n", "line 2, column 'a': found '1_000'"),
        ("date,a\n20200101,inf\n", "line 2, column 'a': found 'inf'"),
        ("date,a\n20200101,1e39\n", "line 2, column 'a': found '1e39'; allowed: a number up to 3.4e+38"),
        ("date,a\n20200101,\n20200102,NA\n", "column 'a' has no value in rows 0 to 2"),
        ("date,A\n20200101,1\n", "no column 'a'; the file has 'date', 'A'"),
        ("date,aa\n20200101,1\n", "did you mean 'aa'?"),
        ("date;a\n20200101;1\n", "separated by semicolons"),
        ("date,a,a\n20200101,1,2\n", "column 'a' occurs 2 times"),
        (
            "date,a\n20200102,1\n20200101,2\n",
            "line 3, column 'date': the date 2020-01-01T00:00:00 comes after 2020-01-02",
        ),
        ("date,a\n20200102,1\n20200102,2\n", "line 3, column 'date': the date 2020-01-02T00:00:00 occurs twice"),
        (
            "date,a\n2020-01-02,1\n",
            "line 2, column 'date': found '2020-01-02', which is not a date of the form '%Y%m%d'",
        ),
        ("date,a\n,1\n", "line 2, column 'date': found ''"),
        ("date,a\n20200101,1,2\n", "line 2: found 3 columns where the header has 2"),
        ("date,a\n", "no rows below its header"),
    ],
)
def test_a_bad_series_is_refused_with_line_and_column(tmp_path, text, expected):
    message = complaint(series, tmp_path, text)
    assert expected in message and "s.csv" in message, message


def test_files_outside_of_the_folder_are_refused_because_nobody_watches_them(tmp_path):
    inner = tmp_path / "raw"
    inner.mkdir()
    (tmp_path / "s.csv").write_text("date,v\n2020-01-01,1\n")
    options = {"date": "date", "date_format": "ISO8601", "columns": ["v"]}
    for name in ("../s.csv", str(tmp_path / "s.csv")):
        message = complaint(csv_series, inner, file=name, **options)
        assert message == f"found {name!r}; allowed: folders and files inside of {inner}, named relative to it"
    message = complaint(class_folders, inner, directory="..", height=2, width=2, mode="L")
    assert message.startswith("found '..'; allowed:")


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "s.csv").write_bytes("date,a\n20200101,1\n20200102,é\n".encode("latin-1"))
    options = {"file": "s.csv", "date": "date", "date_format": "%Y%m%d"}
    assert "line 3: not UTF-8" in complaint(csv_series, tmp_path, columns=["a"], **options)
    assert "data.options.columns: found []" in complaint(csv_series, tmp_path, columns=[], **options)


def test_rows_of_a_series_outside_the_file_are_refused(tmp_path):
    start = datetime(2020, 1, 1)
    lines = "".join(f"{start + timedelta(days=day):%Y%m%d},{day}\n" for day in range(10))
    assert series(tmp_path, "date,a\n" + lines, rows=[2, 4]).values.ravel().tolist() == [2.0, 3.0]
    assert "found rows [2, 11]" in complaint(series, tmp_path, "date,a\n" + lines, rows=[2, 11])


def test_what_systems_leave_behind_is_passed_over(tmp_path):
    for name in ("cat", "dog"):
        save(tmp_path / name / "a.png", "blue")
    for name in ("@eaDir", "lost+found", ".thumbnails"):
        save(tmp_path / "cat" / name / "thumb.png", "blue")
    found = class_folders(tmp_path, directory=".", height=2, width=2, mode="L")
    assert found.names == ["cat/a.png", "dog/a.png"] and found.warnings == ()


@pytest.mark.parametrize("link", ["raw/dog", "raw/cat/more"])
def test_links_to_folders_are_refused_because_nobody_watches_what_is_behind(tmp_path, link):
    for name in ("raw/cat", "elsewhere"):
        save(tmp_path / name / "a.png", "blue")
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    message = complaint(class_folders, tmp_path / "raw", directory=".", height=2, width=2, mode="L")
    assert message == (
        f"{tmp_path / link}: a link to a folder, behind which DVC does not look; put the folder itself there"
    )


def test_links_to_pictures_are_read_because_dvc_makes_them(tmp_path):
    save(tmp_path / "cache" / "0f", "blue", format="PNG")
    for name in ("cat", "dog"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        (tmp_path / "raw" / name / "a.png").symlink_to(tmp_path / "cache" / "0f")
    assert len(class_folders(tmp_path / "raw", directory=".", height=2, width=2, mode="L").names) == 2


def test_names_in_another_encoding_are_refused():
    """Not made on the disk: some file systems have no such names."""
    for path in (b"cat/caf\xe9.png", b"caf\xe9/a.png"):
        message = complaint(check_name, Path(os.fsdecode(path)))
        assert message == f"{path!r}: the name is not UTF-8; rename it, for example with convmv"


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path, monkeypatch):
    save(tmp_path / "cat" / "a.png", "blue")
    closed = tmp_path / "cat" / "closed"
    closed.mkdir()
    whole = os.scandir

    def scandir(path):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root, as whom tests may run, is not kept out by rights
    message = complaint(class_folders, tmp_path, directory=".", height=2, width=2, mode="L")
    assert message == f"{closed}: not readable (Permission denied); change its rights"


def test_every_format_takes_the_folder_and_named_options_only():
    from inspect import Parameter, signature

    for read in FORMATS.values():
        folder, *options = signature(read).parameters.values()
        assert folder.name == "folder" and all(option.kind is Parameter.KEYWORD_ONLY for option in options)
