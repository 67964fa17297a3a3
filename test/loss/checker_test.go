package loss

import (
	"slices"
	"testing"
)

// TestJudge checks that the checker notices what it is for.
func TestJudge(t *testing.T) {
	changes := []Change{
		{Number: 1, Object: "a", Type: 0}, {Number: 2, Object: "b", Type: 0},
		{Number: 3, Object: "a", Type: 1, Prior: 1}, {Number: 4, Object: "a", Type: 2, Prior: 3},
	}
	right := []received{
		{"n1", "a", 0, 0, 1}, {"n2", "b", 0, 0, 2}, {"n3", "a", 1, 1, 3}, {"n4", "a", 2, 3, 0},
	}
	repeated := func(at, index int) []received { return slices.Insert(slices.Clone(right), at, right[index]) }
	for _, tc := range []struct {
		name       string
		taken      []received
		duplicates int
		late       int
		wrong      bool
	}{
		{"all", right, 0, 0, false},
		{"other objects in another order", []received{right[1], right[0], right[2], right[3]}, 0, 0, false},
		{"repeated at once", repeated(1, 0), 1, 0, false},
		{"repeated later", repeated(3, 0), 1, 1, false},
		{"last missing", right[:3], 0, 0, true},
		{"first missing", right[1:], 0, 0, true},
		{"middle missing", []received{right[0], right[1], right[3]}, 0, 0, true},
		{"swapped", []received{right[0], right[1], right[3], right[2]}, 0, 0, true},
		{"same change under two identifiers", slices.Insert(slices.Clone(right), 1, received{"n9", "a", 0, 0, 1}), 0, 0, true},
		{"something else", append(slices.Clone(right), received{"n9", "c", 0, 0, 9}), 0, 0, true},
		{"wrong prior state", []received{right[0], right[1], {"n3", "a", 1, 2, 3}, right[3]}, 0, 0, true},
	} {
		v := judge("x", tc.taken, changes, func(Change) bool { return true })
		if (len(v.Faults) > 0) != tc.wrong || v.Duplicates != tc.duplicates || v.Late != tc.late {
			t.Errorf("%s: %+v, want wrong: %t, %d duplicates, %d late", tc.name, v, tc.wrong, tc.duplicates, tc.late)
		}
	}
	if sameOrder(right, right) != nil {
		t.Error("the same order is said to differ")
	}
	if sameOrder([]received{right[1], right[0]}, right) == nil {
		t.Error("another order is said to be the same")
	}
}
