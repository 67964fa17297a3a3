package oidcprovider

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/o2ims/o2ims/test/harness"
)

// ErrMissing means that npm is not on this machine and could not be installed.
var ErrMissing = errors.New("the OpenID provider needs npm")

// install returns the paths of node, of the node_modules folder that hack/oidc's lock file
// describes, and of the script. The modules are fetched once and kept in the cache, below a
// name with the lock file's hash. Node.js is one of them: that of Debian 12 is too old.
func install(ctx context.Context, progress io.Writer) (node, modules, script string, err error) {
	root, err := harness.RepositoryRoot()
	if err != nil {
		return "", "", "", err
	}
	source := filepath.Join(root, "hack", "oidc")
	script = filepath.Join(source, "provider.mjs")
	key, err := keyOf(source)
	if err != nil {
		return "", "", "", err
	}
	cache, err := harness.CacheDir()
	if err != nil {
		return "", "", "", err
	}
	dir := filepath.Join(cache, "oidc-"+key)
	modules = filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err != nil {
		if err := fetch(ctx, source, dir, progress); err != nil {
			return "", "", "", err
		}
	}
	node, err = nodeIn(ctx, modules, progress)
	return node, modules, script, err
}

// nodeIn returns the Node.js among the modules; on processors that it is not built for, the
// machine's own.
func nodeIn(ctx context.Context, modules string, progress io.Writer) (string, error) {
	found, err := filepath.Glob(filepath.Join(modules, "node-linux-*", "bin", "node"))
	if err == nil && len(found) == 1 {
		return found[0], nil
	}
	return harness.EnsureCommand(ctx, "node", "nodejs", progress)
}

// What `npm ci` reads.
var lockFiles = []string{"package.json", "package-lock.json"}

func keyOf(source string) (string, error) {
	hash := sha256.New()
	for _, name := range lockFiles {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(text), text)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// fetch lets npm fill a folder, which appears whole or not at all. Two that fetch at the
// same time do so twice, and the first wins.
func fetch(ctx context.Context, source, dir string, progress io.Writer) error {
	npm, err := harness.EnsureCommand(ctx, "npm", "npm", progress)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "oidc-new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	for _, name := range lockFiles {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o644); err != nil {
			return err
		}
	}
	began := time.Now()
	fmt.Fprintln(progress, "fetching oidc-provider and Node.js by npm (about 15 s, once)")
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev")
	cmd.Dir = fresh
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in hack/oidc: %w\n%s", err, strings.TrimSpace(string(said)))
	}
	fmt.Fprintf(progress, "fetched oidc-provider in %.0f s\n", time.Since(began).Seconds())
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
