package hub

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/o2ims/o2ims/test/harness"
)

var block = regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```")

// Blocks are the code blocks in a language, such as yaml, of a document in docs.
func Blocks(t testing.TB, document, language string) []string {
	t.Helper()
	root, err := harness.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, found := range block.FindAllSubmatch(text, -1) {
		if string(found[1]) == language {
			blocks = append(blocks, string(found[2]))
		}
	}
	return blocks
}
