package harness

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// EnsureCommand returns the path of a command, and installs the Debian package that has
// it if it is missing.
func EnsureCommand(ctx context.Context, command, debianPackage string, progress io.Writer) (string, error) {
	return ensure(ctx, debianPackage, progress, func() (string, error) { return lookCommand(command) })
}

// EnsureFile returns the path of a file, and installs the Debian package that has it if
// it is missing.
func EnsureFile(ctx context.Context, path, debianPackage string, progress io.Writer) (string, error) {
	return ensure(ctx, debianPackage, progress, func() (string, error) {
		_, err := os.Stat(path)
		return path, err
	})
}

// installing is held while this process installs: there is one dpkg, and what several need
// is installed once. For other processes apt-get waits.
var installing sync.Mutex

// ensure returns what look finds, and installs a Debian package first when it finds
// nothing: by apt-get, through sudo where we are not root. Where that is not possible,
// the error says what line to run.
func ensure(ctx context.Context, debianPackage string, progress io.Writer, look func() (string, error)) (string, error) {
	installing.Lock()
	defer installing.Unlock()
	found, err := look()
	if err == nil {
		return found, nil
	}
	argv := []string{"apt-get", "install", "--yes", "--no-install-recommends", "--option=DPkg::Lock::Timeout=600", debianPackage}
	byHand := "sudo " + strings.Join(argv, " ")
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("sudo"); err != nil {
			return "", fmt.Errorf("Debian package %s is needed: as root, run %q", debianPackage, strings.TrimPrefix(byHand, "sudo "))
		}
		argv = append([]string{"sudo", "--non-interactive"}, argv...)
	}
	fmt.Fprintf(progress, "installing the Debian package %s\n", debianPackage)
	if out, err := aptGet(ctx, argv); err != nil {
		return "", fmt.Errorf("Debian package %s is needed and %q did not install it; run %q: %w\n%s",
			debianPackage, strings.Join(argv, " "), byHand, err, out)
	}
	return look()
}

// aptGet installs, and when that does not work refreshes the package lists and tries
// again: a fresh machine has none, and an old one has outdated ones.
func aptGet(ctx context.Context, argv []string) ([]byte, error) {
	run := func(argv []string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		return cmd.CombinedOutput()
	}
	if _, err := run(argv); err == nil {
		return nil, nil
	}
	var update []string
	for _, arg := range argv {
		if arg == "install" {
			break
		}
		update = append(update, arg)
	}
	if out, err := run(append(update, "update")); err != nil {
		return out, err
	}
	return run(argv)
}

// lookCommand also looks where Debian puts servers, which an ordinary user's PATH leaves out.
func lookCommand(command string) (string, error) {
	path, err := exec.LookPath(command)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, command); isExecutable(path) {
			return path, nil
		}
	}
	return "", err
}
