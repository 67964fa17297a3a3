package contract

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the commands in docs/api.md print into it")

const guide = "../../docs/api.md"

// example is a block of commands in the guide and the block of output that follows it.
type example struct {
	line            int
	command, output string
	hasOutput       bool
}

var blocks = regexp.MustCompile("(?s)```sh\n(.*?)```\n(?:\n```text\n(.*?)```\n)?")

// examplesIn returns the blocks of a document in their order.
func examplesIn(document string) []example {
	var list []example
	for _, m := range blocks.FindAllStringSubmatchIndex(document, -1) {
		e := example{line: 1 + strings.Count(document[:m[0]], "\n"), command: document[m[2]:m[3]]}
		if m[4] >= 0 {
			e.output, e.hasOutput = document[m[4]:m[5]], true
		}
		list = append(list, e)
	}
	return list
}

// TestGuide runs every command in docs/api.md against the server, in a shell, and compares
// what it prints with what the guide says it does. The first block is the setting for all.
func TestGuide(t *testing.T) {
	for _, program := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the commands need %s: %v", program, err)
		}
	}
	content, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	document := string(content)
	list := examplesIn(document)
	if len(list) < 30 {
		t.Fatalf("%d blocks of commands, want every operator and selector", len(list))
	}
	target := startServer(t, allMajors...)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, target.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	environment := append(os.Environ(), "O2IMS_URL="+target.URL, "O2IMS_TOKEN="+adminToken, "O2IMS_TOKEN_READER="+readerToken, "O2IMS_CA="+ca)
	for _, e := range list {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", list[0].command+e.command)
		shell.Env = environment
		printed, err := shell.CombinedOutput()
		cancel()
		got := volatile.ReplaceAllString(strings.TrimRight(string(printed), "\n")+"\n", "…")
		switch {
		case err != nil:
			t.Errorf("line %d: %s: %v\n%s", e.line, e.command, err, printed)
		case *update && e.hasOutput:
			document = strings.Replace(document, e.command+"```\n\n```text\n"+e.output, e.command+"```\n\n```text\n"+got, 1)
		case e.hasOutput && got != e.output:
			t.Errorf("line %d: %s\nprints\n%s\nwant\n%s", e.line, e.command, got, e.output)
		case !e.hasOutput && strings.TrimSpace(got) != "":
			t.Errorf("line %d: %s\nprints what the guide does not show:\n%s", e.line, e.command, got)
		}
	}
	if *update {
		if err := os.WriteFile(guide, []byte(document), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// volatile is what is different each time.
var volatile = regexp.MustCompile(`(?m)[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?:\b)`)

// TestGuideIsComplete: every operator and every selector has a command in the guide.
func TestGuideIsComplete(t *testing.T) {
	content, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	var commands strings.Builder
	for _, e := range examplesIn(string(content)) {
		fmt.Fprintln(&commands, e.command)
	}
	for _, want := range []string{"(eq,", "(neq,", "(gt,", "(gte,", "(lt,", "(lte,", "(in,", "(nin,", "(cont,", "(ncont,",
		"all_fields", "'fields=", "exclude_fields=", "exclude_default", "explain", "nextpage_opaque_marker", "@key", "~1", "null",
		"If-None-Match", "--head", "--compressed", "/v1", "/v2", "openapi.yaml",
		"/alarms", "/alarms/purge", "/taskOperations", "/alarmSubscriptions", "/alarmServiceConfiguration", "PATCH", "If-Match", "eventFilter"} {
		if !strings.Contains(commands.String(), want) {
			t.Errorf("no command of the guide has %s", want)
		}
	}
}
