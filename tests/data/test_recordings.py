"""Recordings: what is read of files, which files belong to a part, how words are joined, and what the card tells."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.tokens import as_texts
from pipeline.formats import FORMATS
from pipeline.formats.audio import read_sound, written
from pipeline.formats.contents import digests_of_recordings
from pipeline.formats.joined_recordings import joined
from pipeline.formats.records import Recordings
from pipeline.registry.examples import learned_from, units_of, unseen
from pipeline.tasks.speech_recognition.network import LogMel
from pipeline.tasks.speech_recognition.preparation import prepare_recordings

RATE = 8000
PUBLISHED = {"validation": None, "test": None}
DRAW = np.random.default_rng(0)
SOUND = DRAW.integers(-20_000, 20_000, 900).astype(np.int16)


def sine(hertz: float, rate: int, seconds: float = 0.2) -> np.ndarray:
    return (20_000 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.int16)


def refused(source: Path | io.BytesIO) -> str:
    with pytest.raises(ValueError) as caught:
        read_sound(source, RATE)
    return str(caught.value)


def test_sixteen_bits_at_the_same_rate_come_through_unchanged() -> None:
    loudest = np.array([-32768, 32767, 0, 1, -1], dtype=np.int16)
    for samples in (SOUND, loudest):
        found = read_sound(io.BytesIO(written(samples, RATE)), RATE)
        assert found.samples.dtype == np.int16 and found.samples.tolist() == samples.tolist()
        assert (found.rate, found.channels) == (RATE, 1)


def test_channels_are_mixed_and_other_rates_are_resampled() -> None:
    both = read_sound(io.BytesIO(written(np.stack([SOUND, SOUND - 100], axis=1), RATE)), RATE)
    assert both.channels == 2 and np.abs(both.samples - (SOUND - 50.0)).max() <= 1
    low = read_sound(io.BytesIO(written(sine(500, 22_050), 22_050)), RATE)
    assert low.rate == 22_050 and len(low.samples) == 1600
    middle = slice(200, -200)  # the filter rings at both ends
    assert np.abs(low.samples[middle] - sine(500, RATE)[middle].astype(float)).max() < 200
    high = read_sound(io.BytesIO(written(sine(7000, 22_050), 22_050)), RATE)
    assert np.abs(high.samples[middle].astype(float)).max() < 200, "8,000 samples a second hold nothing above 4,000 Hz"


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_other_forms_of_files_are_read_as_well(suffix: str, subtype: str, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / f"x.{suffix}", SOUND, RATE, subtype=subtype)
    assert read_sound(tmp_path / f"x.{suffix}", RATE).samples.tolist() == SOUND.tolist()


def test_a_file_that_is_no_recording_is_named_with_the_reason(tmp_path: Path) -> None:
    import soundfile

    path, whole = tmp_path / "x.wav", written(SOUND, RATE)
    for data, reason in (
        (b"", "the file is empty"),
        (b"RIFF", "Format not recognised"),
        (b"no sound at all, but long enough for a header", "Format not recognised"),
        (whole[:-300], f"the file is cut short: its header says {len(whole)} bytes, {len(whole) - 300} are there"),
        (written(SOUND[:0], RATE), "it has no samples"),
        (written(SOUND, 10), "found 10 samples a second; allowed: 1000 to 400000"),
    ):
        path.write_bytes(data)
        assert reason in refused(path) and f"{path}: not readable as a recording" in refused(path)
        assert "the recording: not readable as a recording" in refused(io.BytesIO(data))
    soundfile.write(path, np.array([0.1, np.nan, 0.2]), RATE, subtype="FLOAT")
    assert refused(path) == f"{path}: holds samples that are no finite numbers; replace the file or remove it"


def test_samples_of_another_scale_are_refused_and_a_little_too_loud_ones_are_cut(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "x.wav"
    soundfile.write(path, SOUND.astype(np.float32), RATE, subtype="FLOAT")
    assert f"{path}: found floating-point samples up to 1" in refused(path) and "allowed: from -1 to 1" in refused(path)
    soundfile.write(path, np.array([0.5, 1.25, -1.25], dtype=np.float32), RATE, subtype="FLOAT")
    assert read_sound(path, RATE).samples.tolist() == [16384, 32767, -32768]


def test_half_a_recording_is_refused_in_every_form(tmp_path: Path) -> None:
    import soundfile

    noise = DRAW.normal(0, 0.1, 40_000)
    for kind in ("ogg", "flac", "wav"):
        path = tmp_path / f"x.{kind}"
        soundfile.write(path, noise, RATE)
        whole = path.read_bytes()
        assert len(read_sound(path, RATE).samples) == len(noise)
        path.write_bytes(whole[: len(whole) // 2])
        assert ("lost sync" if kind == "flac" else "cut short") in refused(path), kind
    whole = written(SOUND, RATE)
    (tmp_path / "y.wav").write_bytes(whole[:4] + (len(whole) - 308).to_bytes(4, "little") + whole[8:-300])
    assert "the file is cut short" in refused(tmp_path / "y.wav"), "the first size is right, that of the samples is not"


@pytest.mark.parametrize("size", [0x7FFFF024, 0x80000024, 0xFFFFFFFF])
def test_recordings_that_came_through_a_pipe_are_read(size: int, tmp_path: Path) -> None:
    whole = written(SOUND, RATE)
    piped = whole[:4] + size.to_bytes(4, "little") + whole[8:40] + (size - 36).to_bytes(4, "little") + whole[44:]
    (tmp_path / "x.wav").write_bytes(piped)
    assert read_sound(tmp_path / "x.wav", RATE).samples.tolist() == SOUND.tolist()


def test_a_recording_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "hours.flac"
    soundfile.write(path, np.zeros(3700 * 1000, dtype=np.int16), 1000)
    assert path.stat().st_size < 100_000
    assert "it lasts 3,700 s; allowed: up to 3600 s" in refused(path)


def folder_of(folder: Path, names: list[str], lines: str = "") -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(written(SOUND[: 300 + number], RATE))
    (folder / "list.tsv").write_text(lines, encoding="utf-8")
    return folder


def test_a_list_names_recordings_with_what_is_said_and_who_says_it(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a/b.wav", "c.WAV", "d.wav", ".hidden.wav"], "c.WAV\tTwo  words\tann\na/b.wav\tone\tbob\n")
    found = FORMATS["recordings"](tmp_path, transcripts="list.tsv", sample_rate=RATE)
    assert isinstance(found, Recordings)
    assert (found.names, found.texts, found.speakers) == (["c.WAV", "a/b.wav"], ["Two  words", "one"], ["ann", "bob"])
    assert [len(sound) for sound in found.samples] == [301, 300]
    assert found.warnings == (f"1 recordings in {tmp_path} have no transcript in list.tsv and were ignored",)
    (tmp_path / "list.tsv").write_text("d.wav\tno name\nc.WAV\ttwo\tann\n", encoding="utf-8")
    assert FORMATS["recordings"](tmp_path, transcripts="list.tsv", sample_rate=RATE).speakers is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("a.wav\tone\nb.wav\ttwo\n", r"list\.tsv, line 2: no recording 'b\.wav' in .*; did you mean a\.wav\?"),
        ("../a.wav\tone\n", r"list\.tsv, line 1: no recording '\.\./a\.wav'"),
        ("a.wav one\n", r"list\.tsv, line 1: found 1 fields; allowed: a file, a tab and what is said"),
        ("a.wav\t\t\n", r"list\.tsv, line 1: found 1 fields"),
        ("a.wav\tone\ttwo\tthree\n", r"list\.tsv, line 1: found 4 fields"),
        ("a.wav\tone\n\n", r"list\.tsv, line 2: found an empty line"),
        ("a.wav\tone\na.wav\ttwo\n", r"list\.tsv, line 2: a\.wav stands in an earlier line, too"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_with_its_line(lines: str, expected: str, tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.wav"], lines)
    with pytest.raises(ValueError, match=expected):
        FORMATS["recordings"](tmp_path, transcripts="list.tsv", sample_rate=RATE)


def test_changed_and_silent_recordings_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(written(np.stack([SOUND, SOUND], axis=1), 16_000))
    (tmp_path / "b.wav").write_bytes(written(np.zeros(100, dtype=np.int16), RATE))
    found = FORMATS["named_recordings"](tmp_path, directory=".", pattern="{text}", sample_rate=RATE)
    assert found.warnings == (
        "1 of 2 recordings had more than one channel, which were mixed",
        "1 of 2 recordings were resampled from 16000 to 8000 samples a second",
        "1 of 2 recordings are silent throughout",
    )
    with pytest.raises(ValueError, match=r"data\.options\.sample_rate: found 50; allowed: a whole number from 1000"):
        FORMATS["named_recordings"](tmp_path, directory=".", pattern="{text}", sample_rate=50)


NAMED = [f"{digit}_{speaker}_{number}.wav" for digit in "01" for speaker in ("ann", "bo_b") for number in range(3)]


def named(folder: Path, **options: Any) -> Any:
    options = {"directory": ".", "pattern": "{text}_{speaker}_{number}", "sample_rate": RATE, **options}
    return FORMATS["named_recordings"](folder_of(folder, NAMED), **options)


def test_names_of_files_tell_what_is_said_and_pick_the_part(tmp_path: Path) -> None:
    words = {"0": "zero", "1": "one"}
    everything = named(tmp_path, words=words)
    assert everything.texts == ["zero"] * 6 + ["one"] * 6
    assert sorted(set(everything.speakers)) == ["ann", "bo_b"]
    assert named(tmp_path, words=words, numbers=[1, 3], speakers=["ann"]).names == [
        "0_ann_1.wav", "0_ann_2.wav", "1_ann_1.wav", "1_ann_2.wav",
    ]  # fmt: skip
    for options, expected in (
        ({"words": {"0": "zero"}}, r"1_ann_0\.wav: data\.options\.words does not say what '1' stands for"),
        ({"speakers": ["eve"]}, r"no recording of the speaker 'eve' in .*; there are ann, bo_b"),
        ({"numbers": [3, 9]}, "found no recordings for this part; check data.parts"),
        ({"numbers": [2, 1]}, r"found numbers \[2, 1\]; allowed: \[first, end\]"),
        ({"pattern": "{text}-{number}"}, r"0_ann_0\.wav: the name is not of the form '\{text\}-\{number\}'"),
        (
            {"pattern": "{text}_{speaker}", "numbers": [0, 1]},
            r"found numbers \[0, 1\], but the pattern .* has no \{number\}",
        ),
        ({"pattern": "{word}"}, r"data\.options\.pattern: found '\{word\}'; allowed: \{text\}"),
        ({"directory": "0_ann_0.wav"}, "this is a file; allowed: a folder with recordings"),
    ):
        with pytest.raises(ValueError, match=expected):
            named(tmp_path, **{"words": words, **options})


def test_a_name_that_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, ["new_york_ann_1.wav"])
    options: Any = {"directory": ".", "pattern": "{text}_{speaker}_{number}", "sample_rate": RATE}
    with pytest.raises(ValueError, match="this is text new, speaker york_ann, number 1 or text new_york, speaker ann"):
        FORMATS["named_recordings"](tmp_path, **options)
    found: Any = FORMATS["named_recordings"](tmp_path, words={"new": "new"}, **options)
    assert found.speakers == ["york_ann"]
    folder_of(tmp_path / "whole", ["yes12.wav"])
    found = FORMATS["named_recordings"](tmp_path / "whole", **options | {"pattern": "{text}{number}"})
    assert found.texts == ["yes"], "a number is always whole"


def test_a_list_may_write_accents_in_another_way_than_the_disk(tmp_path: Path) -> None:
    apart, together = (unicodedata.normalize(form, "é.wav") for form in ("NFD", "NFC"))
    folder_of(tmp_path, [apart], f"{together}\tgood\n")
    found: Any = FORMATS["recordings"](tmp_path, transcripts="list.tsv", sample_rate=RATE)
    assert found.texts == ["good"] and found.names == [apart]
    words = {unicodedata.normalize("NFC", "é"): "e"}
    found = FORMATS["named_recordings"](tmp_path, directory=".", pattern="{text}", sample_rate=RATE, words=words)
    assert found.texts == ["e"]
    folder_of(tmp_path, [together])
    with pytest.raises(ValueError, match="another file has the same name, its accents written in another way"):
        FORMATS["recordings"](tmp_path, transcripts="list.tsv", sample_rate=RATE)


def single(count: int, prefix: str = "", first: int = 0) -> Recordings:
    samples = [np.full(10 + row, first + row + 1, dtype=np.int16) for row in range(count)]
    speakers = [("ann", "bob")[row % 2] for row in range(count)]
    names = [f"{prefix}{row}.wav" for row in range(count)]
    return Recordings(samples, [f"w{row}" for row in range(count)], speakers, names, RATE)


def test_joined_recordings_are_of_one_speaker_and_take_every_word_once_a_pass() -> None:
    found = joined(single(40), [2, 4], [0.0, 0.01], 3)
    words = [text.split() for text in found.texts]
    assert sorted(word for said in words for word in said) == sorted(3 * [f"w{row}" for row in range(40)])
    assert {len(said) for said in words[:-1]} <= {1, 2, 3, 4} and found.speakers is not None
    for said, speaker, sound in zip(words, found.speakers, found.samples, strict=True):
        rows = [int(word[1:]) for word in said]
        assert {row % 2 for row in rows} == {("ann", "bob").index(speaker)}
        assert sound[sound > 0].tolist() == [row + 1 for row in rows for _ in range(10 + row)]
        assert 0 <= (sound == 0).sum() <= 80 * (len(rows) - 1)
    again, other = joined(single(40), [2, 4], [0.0, 0.01], 3), joined(single(40, "x"), [2, 4], [0.0, 0.01], 3)
    assert found.texts == again.texts != other.texts


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (([0, 2], [0.0, 0.1], 1), r"words_joined: found \[0, 2\]"),
        (([1, 2], [0.2, 0.1], 1), r"gap: found \[0\.2, 0\.1\]"),
        (([1, 2], [0.0, 0.1], 0), "passes: found 0"),
    ],
)
def test_options_of_joining_are_checked(options: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        joined(single(4), *options)


def ear(rate: int) -> LogMel:
    return LogMel(rate, 0.025, 0.01, 8)


def spoken(texts: list[str], lengths: list[int], speakers: list[str] | None = None, seed: int = 0) -> Recordings:
    draw = np.random.default_rng(seed)
    samples = [draw.integers(-9000, 9000, length).astype(np.int16) for length in lengths]
    return Recordings(samples, texts, speakers, [f"{seed}-{row}.wav" for row in range(len(texts))], RATE)


def prepare(parts: dict[str, Any], split: Any = PUBLISHED, longest: float = 1.0, units: str = "characters") -> Any:
    return prepare_recordings(parts, split, 0, ear, units=units, lowercase=True, longest=longest)


def test_letters_of_train_become_targets_and_recordings_are_padded() -> None:
    parts = {
        "train": spoken(["Be  a", "ab"], [2000, 1500], ["ann", "bob"]),
        "validation": spoken(["b"], [1200], ["eve"], 1),
        "test": spoken(["ac"], [1600], ["ann"], 2),
    }
    prepared = prepare(parts)
    card, train = prepared.card, prepared.tables["train"]
    assert card["alphabet"] == [" ", "a", "b", "e"]
    assert train["targets"].tolist() == [[3, 4, 1, 2], [2, 3, 0, 0]] and train["target_lengths"].tolist() == [4, 2]
    assert train["samples"].shape == (2, 2000) and train["lengths"].tolist() == [2000, 1500]
    assert train["samples"][1].tolist() == [*parts["train"].samples[1].tolist(), *[0] * 500]
    assert as_texts(train["reference"]) == ["be a", "ab"]
    assert prepared.tables["test"]["targets"].tolist() == [[2]], "a character that train lacks is nothing to aim at"
    assert card["speakers"] == {"train": {"ann": 1, "bob": 1}, "validation": {"eve": 1}, "test": {"ann": 1}}
    assert card["seconds"]["train"] == {"shortest": 0.188, "longest": 0.25, "total": 0.438}
    assert "all speakers of test speak in train, too: the figures say nothing about other speakers" in card["warnings"]
    assert "test has 1 characters that train lacks (c); each is an error" in card["warnings"]


def test_words_can_be_the_units() -> None:
    parts = {"train": spoken(["Be  a", "a"], [2000, 1500]), "test": spoken(["a cat"], [1500], seed=1)}
    prepared = prepare({**parts, "validation": spoken(["be"], [1500], seed=2)}, units="words")
    assert prepared.card["alphabet"] == ["a", "be"]
    assert prepared.tables["train"]["targets"].tolist() == [[2, 1], [1, 0]]
    assert "test has 1 words that train lacks (cat); each is an error" in prepared.card["warnings"]


def test_statistics_are_of_train_alone_and_so_are_limits_of_length() -> None:
    parts = {"train": spoken(["ab"] * 3, [2000, 9000, 1600]), "test": spoken(["ab"], [9000], seed=1)}
    parts["validation"] = spoken(["ab"], [1200], seed=2)
    found = prepare(parts)
    assert found.card["counts"] == {"train": 2, "validation": 1, "test": 1}
    assert "1 recordings of train of more than 1 s are left out" in found.card["warnings"]
    parts["test"].samples[0][:] = 0
    again = prepare(parts)
    assert (again.card["mean"], again.card["deviation"]) == (found.card["mean"], found.card["deviation"])
    assert len(found.card["mean"]) == 8 and min(found.card["deviation"]) > 0
    assert found.card["frames_for_a_token"] == 10, "1,600 samples are 21 frames, for two characters"
    with pytest.raises(ValueError, match=r"settings\.longest: found 0\.1; every recording of train lasts longer"):
        prepare(parts, longest=0.1)


def test_twins_need_a_sign_between_them() -> None:
    parts = {name: spoken(["seen"], [4000], seed=seed) for seed, name in enumerate(("train", "validation", "test"))}
    assert prepare(parts).card["frames_for_a_token"] == 51 // 5


def test_parts_that_are_not_published_follow_from_the_recordings() -> None:
    prepared = prepare({"all": spoken(["ab"] * 20, [1500] * 20)}, {"validation": 0.2, "test": 0.1})
    rows = [prepared.tables[part]["rows"].tolist() for part in ("train", "validation", "test")]
    assert [len(part) for part in rows] == [16, 2, 2] and sorted(row for part in rows for row in part) == list(
        range(20)
    )


def test_recordings_that_two_parts_share_are_told() -> None:
    parts = {
        "train": spoken(["ab"] * 4, [1500] * 4),
        "test": spoken(["ab"], [1500]),
        "validation": spoken(["b"], [999]),
    }
    assert "1 of 1 recordings of test are also in train, sample by sample" in prepare(parts).card["warnings"]


def test_parts_that_do_not_fit_are_refused() -> None:
    train, other = spoken(["ab"], [1500]), spoken(["ab"], [1500], seed=1)
    slow = Recordings(other.samples, other.texts, None, other.names, 4000)
    with pytest.raises(ValueError, match="need one sample_rate: train has 8000, validation has 8000, test has 4000"):
        prepare({"train": train, "validation": other, "test": slow})
    with pytest.raises(ValueError, match=r"1-0\.wav of part validation has an empty transcript"):
        prepare({"train": train, "validation": spoken([" "], [900], seed=1), "test": other})
    with pytest.raises(ValueError, match=r"part test holds list; choose a data\.format that reads recordings"):
        prepare({"train": train, "validation": other, "test": []})


def test_strings_that_share_a_recording_do_not_come_into_two_splits() -> None:
    strings = joined(single(20), [2, 3], [0.0, 0.0], 2)
    other, test = joined(single(20, first=100), [2, 3], [0.0, 0.0], 1), joined(single(20, first=200), [3, 3], [0, 0], 1)
    assert not {"train", "test"} - set(prepare({"train": strings, "validation": other, "test": test}).digests)
    with pytest.raises(ValueError, match=r"^20 recordings stand in strings of train and of test; name parts"):
        prepare({"train": strings, "validation": other, "test": strings})
    with pytest.raises(ValueError, match=r"^split: found shares for validation and test of joined recordings"):
        prepare({"all": strings}, {"validation": 0.2, "test": 0.2})


def test_strings_are_known_by_their_recordings() -> None:
    """One recording more draws other strings of the same recordings: the gate knows them all the same."""
    parts = {
        "train": joined(single(20), [2, 3], [0, 0], 2),
        "validation": joined(single(6, first=100), [2, 3], [0, 0], 1),
    }
    before = prepare({**parts, "test": joined(single(9, first=200), [2, 4], [0.0, 0.0], 1)}).digests
    after = prepare({**parts, "test": joined(single(10, first=200), [2, 4], [0.0, 0.0], 1)}).digests
    alone = digests_of_recordings(single(10, first=200))
    assert set(before["test"].flat) == set(alone[:9].tolist()) and set(after["test"].flat) == set(alone.tolist())
    assert not set(before["train"].flat) & set(after["test"].flat)
    new = np.array([alone[9] in string for string in after["test"]])
    assert new.sum() == 1, "the string that holds the recording which was added"
    everything = np.ones(len(after["test"]), dtype=bool)
    assert not unseen(after["test"], learned_from({**before, "train": before["test"]}), len(new))[~new].any()
    assert unseen(after["test"], learned_from(before), len(new)).all()
    assert units_of(after["test"], everything).tolist() == sorted(alone.tolist())
    assert units_of(after["test"], new).tolist() == sorted(set(after["test"][new].flat))
