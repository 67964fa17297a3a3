package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/report"
)

func isOurs(c metav1.Condition) bool { return strings.HasPrefix(c.Type, report.Prefix+"/") }

// excuse is a time in which programs of a cluster are to be refused something: an agent
// that is being removed outlives its rights for a moment, and an apiserver that has just
// started refuses everything until it has read its roles.
type excuse struct {
	cluster     string
	what        string    // part of the line; "" for anything
	from, until time.Time // until zero: to the end of the run
}

// excuses are those of this run.
type excuses struct {
	mu  sync.Mutex
	all []excuse
}

var excused excuses

// mayBeRefused says that programs of a cluster will be refused something from now on,
// until the function that it returns is called.
func mayBeRefused(cluster string) (over func()) { return excused.add(excuse{cluster: cluster}) }

// mayBeEarly says that the agent of a cluster is about to start: OCM hands out its
// credentials a moment before the manager gives them rights.
func mayBeEarly(cluster string) (over func()) {
	return excused.add(excuse{cluster: cluster, what: "managedclusteraddons"})
}

func (e *excuses) add(x excuse) (over func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x.from = time.Now()
	e.all = append(e.all, x)
	i := len(e.all) - 1
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all[i].until = time.Now()
	}
}

func (e *excuses) cover(cluster, line string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := timeOf(line)
	return slices.ContainsFunc(e.all, func(x excuse) bool {
		return x.cluster == cluster && strings.Contains(line, x.what) && !at.Before(x.from) && (x.until.IsZero() || at.Before(x.until))
	})
}

// refusals looks through the logs of all containers of the run for rights that were
// missing.
func refusals(dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "kubelets", "*", "logs", "*.log"))
	if err != nil || len(files) == 0 {
		return []string{fmt.Sprintf("no logs of containers in %s: %v", dir, err)}
	}
	var found []string
	for _, name := range files {
		found = append(found, refusalsIn(name, filepath.Base(filepath.Dir(filepath.Dir(name))))...)
	}
	return found
}

func refusalsIn(name, cluster string) []string {
	f, err := os.Open(name)
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	var found []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); missesRight(line) && !excused.cover(cluster, line) {
			found = append(found, filepath.Base(name)+": "+line)
		}
	}
	return found
}

// timeOf is when a line was written; zero where it does not say.
func timeOf(line string) time.Time {
	var entry struct {
		Time time.Time `json:"time"`
	}
	if json.Unmarshal([]byte(line), &entry) != nil {
		return time.Time{}
	}
	return entry.Time
}

// missesRight tells whether a line says that an apiserver refused something. What the
// API itself refuses to its clients is another matter.
func missesRight(line string) bool {
	return strings.Contains(strings.ToLower(line), "forbidden") && !strings.Contains(line, `"msg":"request refused"`)
}
