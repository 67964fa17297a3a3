package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/report"
)

// TestReportDecode reads a live report as a person at a terminal would. It is not
// parallel, so that the report stays as it is meanwhile.
func TestReportDecode(t *testing.T) {
	ctx := t.Context()
	server := servers(ctx, t, edge)[edgeDell]
	want := must[report.Report](t)(cloud.Report(ctx, edge))

	t.Run("from the hub", func(t *testing.T) {
		out, notes := o2ims(ctx, t, nil, "report", "decode", "--cluster", edge)
		checkInventory(t, out, want)
		if !strings.Contains(notes, "sha256="+want.Head.SHA256) {
			t.Errorf("standard error says %q", notes)
		}
	})
	t.Run("from what kubectl prints", func(t *testing.T) {
		kubectl := exec.CommandContext(ctx, cloud.Env.KubePath())
		kubectl.Args = []string{"kubectl", "get", "managedclusteraddon", "o2ims", "-n", edge, "-o", "yaml"}
		kubectl.Env = hubEnvironment()
		yaml, err := kubectl.Output()
		if err != nil {
			t.Fatal(err)
		}
		out, _ := o2ims(ctx, t, yaml, "report", "decode")
		checkInventory(t, out, want)
	})
	t.Run("as it was reported", func(t *testing.T) {
		out, _ := o2ims(ctx, t, nil, "report", "decode", "--cluster", edge, "--raw")
		if raw := bytes.TrimSuffix(out, []byte("\n")); len(raw) != want.Head.Raw {
			t.Errorf("%d bytes, the head says %d", len(raw), want.Head.Raw)
		}
	})
	t.Run("why", func(t *testing.T) {
		out, _ := o2ims(ctx, t, nil, "report", "decode", "--cluster", edge, "--why", server.ID)
		for _, line := range [][]string{
			{"resource", server.ID, edgeDell, edge},
			{"serial", "smbios", server.AssetID},
			{"node.ready", "node", "True"},
		} {
			if !hasLine(string(out), line) {
				t.Errorf("no line with %q in\n%s", line, out)
			}
		}
	})
	t.Run("a cluster without a report", func(t *testing.T) {
		cmd := exec.CommandContext(ctx, cloud.Binary(), "report", "decode", "--cluster", "nowhere")
		cmd.Env = hubEnvironment()
		text, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(text), "not found") {
			t.Errorf("error %v, text %q", err, text)
		}
	})
}

func hubEnvironment() []string {
	return append(os.Environ(), "KUBECONFIG="+cloud.Env.Hub.Kubeconfig())
}

// o2ims runs the program and returns what it wrote to standard output and error.
func o2ims(ctx context.Context, t *testing.T, input []byte, args ...string) ([]byte, string) {
	t.Helper()
	var out, notes bytes.Buffer
	cmd := exec.CommandContext(ctx, cloud.Binary(), args...)
	cmd.Env = hubEnvironment()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &notes
	if err := cmd.Run(); err != nil {
		t.Fatalf("o2ims %q: %v: %s", args, err, notes.String())
	}
	return out.Bytes(), notes.String()
}

func checkInventory(t *testing.T, text []byte, want report.Report) {
	t.Helper()
	var got report.Inventory
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	g, w := must[[]byte](t)(got.Canonical()), must[[]byte](t)(want.Inventory.Canonical())
	if !bytes.Equal(g, w) {
		t.Errorf("got %s\nwant %s", g, w)
	}
}

// hasLine tells whether a text has a line with all of these words, in this order.
func hasLine(text string, words []string) bool {
	for line := range strings.Lines(text) {
		rest, found := line, true
		for _, w := range words {
			_, after, ok := strings.Cut(rest, w)
			rest, found = after, found && ok
		}
		if found {
			return true
		}
	}
	return false
}
