package controller

import (
	"context"
	"testing"
	"time"
)

func TestTheFirstPassEndsWhenAllHaveBeenLookedAt(t *testing.T) {
	other := addonOf("edge-1")
	other.Name = "search"
	f := newFirstPass(newHub(t, managedCluster("edge-1"), managedCluster("edge-2"), addonOf("edge-1"), other))
	ingest := &Ingest{first: f}
	f.done(item{kind: hierarchyItem})
	f.done(item{clusterItem, "edge-1"}) // a reconciler may be quicker than the list
	if err := f.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, i := range []item{{reportItem, "edge-1"}, {reportItem, "edge-1"}, {reportItem, "edge-9"}} {
		if f.done(i); ingest.Synced() {
			t.Fatalf("complete after %v", i)
		}
	}
	if ingest.Ready(nil) == nil {
		t.Error("ready before the end")
	}
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ingest.WaitForFirstIngest(expired); err == nil {
		t.Error("the wait ended well before the end")
	}
	f.done(item{clusterItem, "edge-2"})
	if err := ingest.WaitForFirstIngest(context.Background()); err != nil || !ingest.Synced() || ingest.Ready(nil) != nil {
		t.Errorf("not complete at the end: %v", err)
	}
	f.done(item{clusterItem, "edge-3"}) // what comes later changes nothing
	if !ingest.Synced() {
		t.Error("a new cluster made it incomplete")
	}
}

func TestAnEmptyHubIsReadyWhenTheHierarchyIsKnown(t *testing.T) {
	f := newFirstPass(newHub(t))
	if err := f.Start(context.Background()); err != nil || f.isComplete() {
		t.Errorf("complete %t before the hierarchy is known, %v", f.isComplete(), err)
	}
	if f.done(item{kind: hierarchyItem}); !f.isComplete() {
		t.Error("not complete")
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		o     Options
		valid bool
	}{
		{Options{RemovalGrace: 24 * time.Hour, ReportWorkers: 4}, true},
		{Options{RemovalGrace: 0, ReportWorkers: 1}, true},
		{Options{RemovalGrace: -time.Second, ReportWorkers: 4}, false},
		{Options{RemovalGrace: time.Hour}, false},
		{Options{RemovalGrace: time.Hour, ReportWorkers: 65}, false},
	} {
		if err := tc.o.Validate(); (err == nil) != tc.valid {
			t.Errorf("%+v: %v, want valid: %t", tc.o, err, tc.valid)
		}
	}
}
