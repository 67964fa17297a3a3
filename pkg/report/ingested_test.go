package report

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestAnswer(t *testing.T) {
	head, err := ParseHead(goodHead)
	if err != nil {
		t.Fatal(err)
	}
	const message = "epoch=6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11 seq=7 sha256=9f2b0c6c0e5a3c4b3e9f550a6f2f3b8a9f2b0c6c0e5a3c4b3e9f550a6f2f3b8a"
	for _, tc := range []struct {
		name                    string
		head                    Head
		err                     error
		status, reason, message string
	}{
		{"in use", head, nil, "True", "Ingested", message},
		{"refused", head, fmt.Errorf("inventory report: %w", reject(ReasonCorrupt, "x")), "False", "Corrupt", message},
		{"without a readable head", Head{}, reject(ReasonFutureVersion, "x"), "False", "FutureVersion", "epoch=" + nilUUID + " seq=0 sha256=" + nilDigest},
		{"an error of another package", head, errors.New("x"), "False", "Malformed", message},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := Answer(tc.head, tc.err)
			c := want.Condition(nil, monday)
			if c.Type != "o2ims.open-cluster-management.io/InventoryIngested" || string(c.Status) != tc.status || c.Reason != tc.reason || c.Message != tc.message {
				t.Errorf("condition %+v", c)
			}
			if got, err := ParseIngested(c); err != nil || got != want {
				t.Errorf("ParseIngested() = %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestTheAnswersTransitionMovesWithItsStatus(t *testing.T) {
	head, _ := ParseHead(goodHead)
	first := Answer(head, nil).Condition(nil, monday)
	head.Seq++
	second := Answer(head, nil).Condition(&first, monday.Add(time.Hour))
	if !second.LastTransitionTime.Equal(&first.LastTransitionTime) {
		t.Error("the transition moved with the sequence number")
	}
	third := Answer(head, reject(ReasonCorrupt, "x")).Condition(&second, monday.Add(time.Hour))
	if third.LastTransitionTime.Equal(&first.LastTransitionTime) {
		t.Error("the transition stayed when the status moved")
	}
}

func TestParseIngestedRefuses(t *testing.T) {
	good := Answer(Head{}, nil).Condition(nil, monday)
	for _, tc := range []struct {
		name string
		edit func(c *metav1.Condition)
	}{
		{"empty", func(c *metav1.Condition) { c.Message = "" }},
		{"no epoch", func(c *metav1.Condition) { c.Message = strings.Replace(c.Message, "epoch", "age", 1) }},
		{"bad seq", func(c *metav1.Condition) { c.Message = strings.Replace(c.Message, "seq=0", "seq=-1", 1) }},
		{"short digest", func(c *metav1.Condition) { c.Message = c.Message[:len(c.Message)-1] }},
		{"False with the reason of True", func(c *metav1.Condition) { c.Status = metav1.ConditionFalse }},
	} {
		c := good
		tc.edit(&c)
		if _, err := ParseIngested(c); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: error %v, want invalid", tc.name, err)
		}
	}
}

func FuzzParseIngested(f *testing.F) {
	f.Add("epoch="+nilUUID+" seq=7 sha256="+nilDigest, "Ingested", true)
	f.Add("epoch= seq= sha256=", "Corrupt", false)
	f.Fuzz(func(t *testing.T, message, reason string, status bool) {
		c := metav1.Condition{Type: KindInventory.IngestedType(), Status: metav1.ConditionFalse, Reason: reason, Message: message}
		if status {
			c.Status = metav1.ConditionTrue
		}
		a, err := ParseIngested(c)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error %v is not invalid", err)
			}
			return
		}
		if again, err := ParseIngested(a.Condition(nil, monday)); err != nil || again != a {
			t.Fatalf("printed and parsed again: %+v, %v, want %+v", again, err, a)
		}
	})
}
