package harness_test

import (
	"os"
	"testing"
	"time"

	"github.com/o2ims/o2ims/test/harness"
)

func TestManual(t *testing.T) {
	dir := os.Getenv("MANUAL_DIR")
	if dir == "" {
		t.Skip()
	}
	env, err := harness.Start(t.Context(), harness.Options{Dir: dir, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer env.Stop()
	addTwo(t.Context(), t, env)
	for {
		if _, err := os.Stat(dir + "/stop"); err == nil {
			return
		}
		time.Sleep(time.Second)
	}
}
