from __future__ import annotations

from pathlib import Path

import pytest

from aqa import catalog
from aqa.catalog.base import Dataset
from aqa.catalog.check import check
from aqa.catalog.frames import images
from aqa.errors import AnnotationError, BadParameter, SplitError

MANY = "id,media,score,subject,event\n" + "\n".join(f"v{n},v{n}.mp4,{n},s{n % 7},e{n % 3}" for n in range(70))


def read(folder: Path, table: str, **options: object) -> Dataset:
    (folder / "samples.csv").write_text(table, encoding="utf-8")
    return catalog.read("csv", folder, **options)


def test_every_known_column(tmp_path: Path):
    dataset = read(
        tmp_path,
        "id,media,score,split,difficulty,judge_1,judge_2,judge_10,group,kind,event,subject,caption,"
        "start_frame,end_frame,height,team,pike\n"
        'a,"my videos/Kür, Finale.mp4",84.15,train,3.2,8,8.5,9,10m,407C,final,Anna,"a ""clean"" dive",'
        "5,108,1.70,CAN,2\n"
        "b,frames/b,70,test,2.8,7,7,7,10m,5253B,final,Bea,,,,1.65,GER,\n",
    )
    a, b = dataset.samples
    assert a.media is not None
    assert a.media.path == tmp_path / "my videos/Kür, Finale.mp4"
    assert (a.media.start, a.media.stop) == (5, 108)
    assert (a.targets, a.difficulty, a.judges) == ({"score": 84.15}, 3.2, (8, 8.5, 9))
    assert (a.group, a.kind, a.event, a.subject, a.caption) == ("10m", "407C", "final", "Anna", 'a "clean" dive')
    assert a.attributes == {"height": 1.7, "team": "CAN", "pike": 2}
    assert b.attributes == {"height": 1.65, "team": "GER"}
    assert b.media is not None
    assert (b.media.start, b.media.stop, b.caption) == (0, None, None)
    (fold,) = dataset.protocol("split").folds
    assert (fold.train, fold.test, fold.group) == (("a",), ("b",), "10m")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_marks_and_capitals(tmp_path: Path, separator: str, encoding: str):
    text = "ID,Media,Score,Split,Höhe\r\nä 1, v 1.mp4 ,1.5,Train,x\r\n\r\nb,v2.mp4,2,TEST,y\r\n".replace(",", separator)
    (tmp_path / "samples.csv").write_bytes(text.encode(encoding))
    dataset = catalog.read("csv", tmp_path / "samples.csv")
    assert [sample.id for sample in dataset.samples] == ["ä 1", "b"]
    assert dataset.samples[0].media is not None
    assert dataset.samples[0].media.path.name == "v 1.mp4"
    assert dataset.samples[0].attributes == {"Höhe": "x"}
    assert dataset.protocol().name == "split"


def test_a_cell_may_have_several_lines(tmp_path: Path):
    dataset = read(tmp_path, 'id,media,score,caption\na,a.mp4,1,"one\ntwo"\nb,b.mp4,x,\n'.replace("x", "2"))
    assert dataset.samples[0].caption == "one\ntwo"
    with pytest.raises(AnnotationError, match="line 4"):
        read(tmp_path, 'id,media,score,caption\na,a.mp4,1,"one\ntwo"\nb,b.mp4,x,\n')


def test_folds_are_grouped_by_subject(tmp_path: Path):
    dataset = read(tmp_path, MANY)
    protocol = dataset.protocol()
    assert (protocol.name, len(protocol.folds), protocol.pooled) == ("grouped-folds", 5, False)
    assert dataset.shared_subjects(protocol) == ()
    assert sorted(i for fold in protocol.folds for i in fold.test) == sorted(dataset.by_id)
    assert read(tmp_path, MANY).protocol() == protocol


def test_folds_are_grouped_by_event_where_there_are_no_subjects(tmp_path: Path):
    dataset = read(tmp_path, MANY.replace("subject", "trainer"))
    folds = dataset.protocol().folds
    assert len(folds) == 3
    for fold in folds:
        assert not {dataset.by_id[i].event for i in fold.train} & {dataset.by_id[i].event for i in fold.test}


def test_few_samples_are_judged_together_and_groups_apart(tmp_path: Path):
    rows = "".join(f"{g}{n},{g}{n}.mp4,{n},{g}\n" for g in "xy" for n in range(12))
    protocol = read(tmp_path, "id,media,score,group\n" + rows).protocol()
    assert protocol.pooled
    assert protocol.groups == ("x", "y")
    assert [len(fold.test) for fold in protocol.folds if fold.group == "x"] == [3, 3, 2, 2, 2]


def test_scores_may_be_missing(tmp_path: Path):
    dataset = read(tmp_path, "id,media,score,split\na,a.mp4,,\nb,b.mp4,,test\n")
    assert [sample.targets for sample in dataset.samples] == [{}, {}]
    assert dataset.protocols == ()
    with pytest.raises(SplitError, match="no sample has a score"):
        dataset.protocol()
    dataset = read(tmp_path, MANY + "\nextra,e.mp4,,s1,e1\n")
    assert "extra" in dataset.by_id
    assert all("extra" not in (*fold.train, *fold.test) for fold in dataset.protocol().folds)
    assert read(tmp_path, "id,media,score\nonly,v.mp4,1\n").protocols == ()


def test_samples_without_split_are_in_no_part(tmp_path: Path):
    dataset = read(tmp_path, "id,media,score,split\na,a.mp4,1,train\nb,b.mp4,2,test\nc,c.mp4,3,\n")
    (fold,) = dataset.protocol().folds
    assert (fold.train, fold.test) == (("a",), ("b",))


def test_attributes_are_typed_by_their_column(tmp_path: Path):
    dataset = read(tmp_path, "id,media,score,n,x,t\na,a.mp4,1,1,1,1\nb,b.mp4,2,2,2.5,nan\n")
    assert dataset.by_id["a"].attributes == {"n": 1, "x": 1.0, "t": "1"}
    assert [type(value) for value in dataset.by_id["a"].attributes.values()] == [int, float, str]


def test_a_missing_mark_drops_the_judges_and_says_so(tmp_path: Path):
    dataset = read(tmp_path, "id,media,score,judge_1,judge_2\na,a.mp4,1,8,\nb,b.mp4,2,,\nc,c.mp4,2,7,8\n")
    assert [sample.judges for sample in dataset.samples] == [(), (), (7, 8)]
    (problem,) = dataset.problems
    assert (problem.sample, problem.field) == ("a", "judge_2")


def test_media_may_lie_anywhere_and_need_not(tmp_path: Path):
    dataset = read(tmp_path, f"id,media,score\na,../other/a.mp4,1\nb,{tmp_path}/b.mp4,2\nc,,3\n")
    a, b, c = (sample.media for sample in dataset.samples)
    assert a is not None
    assert b is not None
    assert a.path == tmp_path / "../other/a.mp4"
    assert b.path == tmp_path / "b.mp4"
    assert c is None


def test_options(tmp_path: Path):
    target = read(tmp_path, MANY, low=0, high=100).target()
    assert (target.ranges, target.times_difficulty, target.kind) == ({"": (0, 100)}, False, "score")
    target = read(
        tmp_path, "id,media,score,difficulty\na,a,1,2\nb,b,0,1.5\n", binary=True, times_difficulty=True
    ).target()
    assert (target.ranges, target.times_difficulty, target.kind) == ({"": (0, 1)}, True, "binary")
    for low, high in ((0, None), (None, 1), (5, 5)):
        with pytest.raises(BadParameter, match="not a range"):
            read(tmp_path, MANY, low=low, high=high)
    with pytest.raises(AnnotationError, match="line 4: 2 is neither 0 nor 1"):
        read(tmp_path, MANY, binary=True)
    with pytest.raises(AnnotationError, match=r"line 2.*field difficulty"):
        read(tmp_path, MANY, times_difficulty=True)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "column is missing, line 1 has nothing.*field id"),
        ("id,score\na,1", "field media"),
        ("id,media,score", "no rows"),
        ("id,media,score,score\na,b,1,2", "'score' twice"),
        ("id,media,score,\na,b,1,2", "without a name"),
        ("id,media,score\na,b", "line 2 has 2 cells for 3 columns"),
        ("id,media,score\na,b,1\nb,c,d,1", "line 3 has 4 cells"),
        ("id,media,score\n,b,1", "line 2: there is no id.*field id"),
        ("id,media,score\na,b,1\n\na,c,2", "line 4: line 2 has the same id"),
        ("id,media,score\na,b,high", "line 2: 'high' is no number.*sample a, field score"),
        ("id;media;score\na;b;84,15", "not a comma"),
        ("id,media,score\na,b,nan", "line 2: nan is not finite.*field score"),
        ("id,media,score\na,b,inf", "not finite"),
        ("id,media,score,difficulty\na,b,1,x", "field difficulty"),
        ("id,media,score,judge_2\na,b,1,x", "field judge_2"),
        ("id,media,score,start_frame\na,b,1,-1", "field start_frame"),
        ("id,media,score,end_frame\na,b,1,1.5", "field end_frame"),
        ("id,media,score,start_frame,end_frame\na,b,1,5,5", "field end_frame"),
        ("id,media,score,split\na,b,1,val", "'val' is neither train nor test"),
        ('id,media,score\na,"b,1', "line 2 is not CSV"),
    ],
)
def test_bad_tables_name_the_line_and_the_column(tmp_path: Path, table: str, said: str):
    with pytest.raises(AnnotationError, match=said):
        read(tmp_path, table)


def test_frames_of_a_sample_without_a_video(tmp_path: Path):
    table = "id,media,score,start_frame,end_frame\na,,1,2,10\nb,,1,2,\nc,c.mp4,1,2,10\n"
    assert [(s.media is None, s.frames) for s in read(tmp_path, table).samples] == [
        (True, 8), (True, None), (False, None),
    ]  # fmt: skip


def test_a_split_of_train_alone_can_be_extracted_but_is_no_protocol(tmp_path: Path):
    dataset = read(tmp_path, "id,media,score,split\na,a,1,train\nb,b,2,train\n")
    assert list(dataset.by_id) == ["a", "b"]
    with pytest.raises(SplitError, match=r"test part is empty.*csv, protocol split, fold 0.*put samples with a score"):
        dataset.protocol()


def test_no_table(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no samples\.csv"):
        catalog.read("csv", tmp_path)
    (tmp_path / "samples.csv").write_bytes(b"id,media,score\n\xe4,b,1\n")
    with pytest.raises(AnnotationError, match="UTF-8"):
        catalog.read("csv", tmp_path)


def test_frames_and_videos_beside_the_table(tmp_path: Path, touch):
    touch(tmp_path / "frames/ä b", ["1.jpg", "2.jpg", "3.jpg"])
    dataset = read(tmp_path, "id,media,score,end_frame\na,frames/ä b,1,3\nb,frames/ä b,2,4\nc,none.mp4,2,\n")
    findings = check(dataset, lambda media: len(images(media.path)))
    assert [finding.sample for finding in findings] == ["b", "c"]
    assert "one too many" in findings[0].message
