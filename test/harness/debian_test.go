package harness

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// aptGetAlone stands for apt-get on a machine that has nothing yet: it installs the command
// that the last argument names, is refused while another one runs, as dpkg's lock does it,
// and needs package lists first.
const aptGetAlone = `#!/bin/sh
mkdir "$0.lock" 2>/dev/null || { echo "Could not get lock"; exit 100; }
trap 'rmdir "$0.lock"' EXIT
echo "$*" >>"$0.log"
for last; do :; done
case "$1" in
update) : >"$0.lists" ;;
*) [ -e "$0.lists" ] && printf '#!/bin/sh\n' >"${0%/*}/$last" && chmod +x "${0%/*}/$last" ;;
esac
`

func TestEnsureInstallsOnceAndOneAfterAnother(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"apt-get": aptGetAlone, "sudo": "#!/bin/sh\nshift\nexec \"$@\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	var all sync.WaitGroup
	for _, command := range []string{"o2ims-one", "o2ims-two", "o2ims-one", "o2ims-two", "o2ims-three"} {
		all.Go(func() {
			if path, err := EnsureCommand(t.Context(), command, command, io.Discard); err != nil || path != filepath.Join(dir, command) {
				t.Errorf("%s: %q, %v", command, path, err)
			}
		})
	}
	all.Wait()
	ran, err := os.ReadFile(filepath.Join(dir, "apt-get.log"))
	if err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]int{"o2ims-three": 1, "o2ims-one": 1, "o2ims-two": 1, "update": 1} {
		got := 0
		for line := range strings.Lines(string(ran)) {
			if strings.HasSuffix(strings.TrimSpace(line), command) {
				got++
			}
		}
		if got < want || got > want+1 { // the first of all is tried again with package lists
			t.Errorf("apt-get ran %d times for %s, want %d:\n%s", got, command, want, ran)
		}
	}
}
