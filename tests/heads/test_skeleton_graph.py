"""Graphs over joints: the hierarchy of HP-MCoRe with its 0-based groups, the partition of ST-GCN, all layouts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aqa.catalog.skeletons import SKELETONS, Skeleton
from aqa.errors import UnknownName
from aqa.heads.skeleton_graph import groups, hierarchy, members, partitions

MPII = SKELETONS["mpii-16"]
GROUPS = ({7}, {6, 8, 12, 13}, {9, 14, 2, 3, 11}, {10, 15, 1, 4}, {5, 0})  # HP-MCoRe, counted from 0
LAYOUTS = list(SKELETONS.values())


def test_groups_of_mpii_are_those_of_the_paper():
    assert tuple(set(group) for group in groups(MPII)) == GROUPS
    assert sorted(joint for group in groups(MPII) for joint in group) == list(range(16))


def test_the_hierarchy_of_mpii_by_hand():
    wanted = np.zeros((4, 3, 16, 16))
    for h in range(4):
        inner, outer = GROUPS[h], GROUPS[h + 1]
        for joint in inner | outer:
            wanted[h, 0, joint, joint] = 1
        for a in inner:
            for b in outer:
                wanted[h, 1, b, a] = 1  # forward: b takes from a
                wanted[h, 2, a, b] = 1
        for subset in (1, 2):
            total = wanted[h, subset].sum(axis=0)
            wanted[h, subset] /= np.where(total > 0, total, 1)
    found = hierarchy(MPII)
    assert found.shape == (4, 3, 16, 16)
    assert np.array_equal(found, wanted)
    # Golden values: thorax to its four neighbours, ankles to the knees and wrists, nothing of the thorax in the last.
    assert found[0, 1, [6, 8, 12, 13], 7].tolist() == [0.25] * 4
    assert found[0, 2, 7, [6, 8, 12, 13]].tolist() == [1.0] * 4
    assert found[3, 2, [10, 15, 1, 4], 5].tolist() == [0.25] * 4
    assert found[3, 1, [0, 5], 10].tolist() == [0.5, 0.5]
    assert found[3, :, 7].sum() == found[3, :, :, 7].sum() == 0
    assert found.sum(axis=(2, 3)).tolist() == [[5, 1, 4], [9, 4, 5], [9, 5, 4], [6, 4, 2]]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_every_joint_is_in_one_group_and_next_to_the_one_before(layout: Skeleton):
    parts = groups(layout)
    assert sorted(joint for group in parts for joint in group) == list(range(len(layout.joints)))
    for inner, outer in zip(parts[:-1], parts[1:], strict=True):
        for joint in outer:
            beside = {a + b - joint for a, b in layout.bones if joint in (a, b)}
            assert beside & set(inner)
    for group in parts:  # what is far from the middle on the left is as far on the right
        assert {layout.mirror[joint] for joint in group} == set(group)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_the_hierarchy_of_any_layout(layout: Skeleton):
    graph, rows = hierarchy(layout), members(layout)
    assert (graph[:, 0].sum(axis=1) == graph[:, 0].max(axis=1)).all()  # diagonal
    sums = graph[:, 1:].sum(axis=2)
    assert np.allclose(sums[sums > 0], 1)
    assert np.allclose(rows.sum(axis=1), 1)
    assert ((rows > 0) == (graph[:, 0].sum(axis=1) > 0)).all()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_the_spatial_partition_splits_the_mean_over_neighbours(layout: Skeleton):
    root, nearer, further = parts = partitions(layout)
    near = np.eye(len(layout.joints))
    for a, b in layout.bones:
        near[a, b] = near[b, a] = 1
    assert np.allclose(parts.sum(axis=0), near / near.sum(axis=1, keepdims=True))
    assert (np.diag(root) > 0).all()
    assert ((nearer > 0).T == (further > 0)).all()
    assert ((parts > 0).sum(axis=0) <= 1).all()


def test_the_partition_of_mpii_by_hand():
    root, nearer, further = partitions(MPII)
    assert nearer[1].nonzero()[0].tolist() == [2]  # a knee has its hip nearer to the thorax,
    assert further[1].nonzero()[0].tolist() == [0]  # its ankle further,
    assert root[1].nonzero()[0].tolist() == [1]  # and itself
    assert root[1, 1] == nearer[1, 2] == further[1, 0] == pytest.approx(1 / 3)
    assert nearer[7].sum() == 0
    assert further[7, [6, 8, 12, 13]].tolist() == [0.2] * 4


def test_a_layout_without_a_centre_is_refused():
    with pytest.raises(UnknownName, match="someone-16"):
        groups(replace(MPII, name="someone-16"))
