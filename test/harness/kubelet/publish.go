package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ownership is whom a volume's files belong to; nil leaves them to root, or to the
// ordinary user that we are.
type ownership struct {
	user  *int64 // the one all containers run as
	group *int64 // fsGroup
}

// The names by which the kubelet publishes a volume's content at once: visible names
// are links into ..data, itself a link that is replaced in one step. Programs that watch
// for changes rely on that.
const dataLink, newDataLink = "..data", "..data_tmp"

// publish makes a volume's folder show a payload, and says whether anything changed. A
// reader sees either the old content or the new, never a mixture.
func publish(dir string, p payload, own ownership) (bool, error) {
	if same, err := shows(dir, p); same || err != nil {
		return false, err
	}
	fresh, err := os.MkdirTemp(dir, "..payload_")
	if err != nil {
		return false, err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return false, err
	}
	for name, file := range p {
		if err := writeFile(fresh, name, file, own); err != nil {
			return false, err
		}
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	_ = os.Remove(filepath.Join(dir, newDataLink)) // of an attempt that was cut short
	if err := os.Symlink(filepath.Base(fresh), filepath.Join(dir, newDataLink)); err != nil {
		return false, err
	}
	if err := os.Rename(filepath.Join(dir, newDataLink), filepath.Join(dir, dataLink)); err != nil {
		return false, err
	}
	if err := linkNames(dir, p); err != nil {
		return false, err
	}
	if old == "" {
		return true, nil
	}
	return true, os.RemoveAll(filepath.Join(dir, old))
}

// shows says whether the folder already shows exactly this payload.
func shows(dir string, p payload) (bool, error) {
	root := filepath.Join(dir, dataLink)
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	// WalkDir does not follow a link at its root.
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return false, err
	}
	seen, same := 0, true
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		want, ok := p[name]
		same = same && ok && bytes.Equal(content, want.data)
		seen++
		return nil
	})
	return same && seen == len(p), err
}

func writeFile(dir, name string, file payloadFile, own ownership) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("path %q leaves the volume", name)
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, file.data, 0o600); err != nil {
		return err
	}
	mode := file.mode
	if own.group != nil {
		mode |= 0o440
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, int(orZero(own.user)), int(orZero(own.group))); err != nil {
			return err
		}
	} else {
		mode |= 0o400 // our one user stands for root, who reads everything, and for the container's
	}
	return os.Chmod(path, mode) // after Chown, and regardless of the umask
}

func orZero(id *int64) int64 {
	if id == nil {
		return 0
	}
	return *id
}

// linkNames lets the volume's top-level names lead into ..data, and removes those that
// are no more.
func linkNames(dir string, p payload) error {
	tops := map[string]bool{}
	for name := range p {
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		if !tops[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
		delete(tops, e.Name())
	}
	for top := range tops {
		if err := os.Symlink(filepath.Join(dataLink, top), filepath.Join(dir, top)); err != nil {
			return err
		}
	}
	return nil
}
