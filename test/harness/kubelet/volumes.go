package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	corev1 "k8s.io/api/core/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// volumes are one pod's volumes: folders of this machine, to be mounted.
type volumes struct {
	dir      string
	nodeRoot string
	source   payloadSource

	mu       sync.Mutex
	paths    map[string]string // by volume name; filled by prepare
	prepared bool
	tokens   map[string]issuedToken
}

type issuedToken struct {
	token     string
	refreshAt time.Time
}

func newVolumes(dir, nodeRoot string, pod *corev1.Pod, node *corev1.Node, from objects) *volumes {
	v := &volumes{dir: dir, nodeRoot: nodeRoot, paths: map[string]string{}, tokens: map[string]issuedToken{}}
	v.source = payloadSource{pod: pod, node: node, from: from, token: v.token, user: commonUser(&pod.Spec)}
	return v
}

// prepare makes every volume of the pod ready to be mounted. It can be repeated until
// nothing is missing any more.
func (v *volumes) prepare(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.source.pod.Spec.Volumes {
		volume := &v.source.pod.Spec.Volumes[i]
		path, err := v.prepareOne(ctx, volume)
		if err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
		v.paths[volume.Name] = path
	}
	v.prepared = true
	return nil
}

func (v *volumes) prepareOne(ctx context.Context, volume *corev1.Volume) (string, error) {
	if volume.HostPath != nil {
		return hostPath(v.nodeRoot, volume.HostPath)
	}
	path := filepath.Join(v.dir, volume.Name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", err
	}
	if volume.EmptyDir != nil {
		return path, v.openToAll(path)
	}
	content, err := v.source.payload(ctx, volume)
	if err != nil {
		return "", err
	}
	_, err = publish(path, content, v.owner())
	return path, err
}

// openToAll gives an emptyDir the kubelet's mode, and its fsGroup where there is one.
func (v *volumes) openToAll(path string) error {
	mode := fs.FileMode(0o777)
	if group := v.owner().group; group != nil && os.Geteuid() == 0 {
		if err := os.Chown(path, 0, int(*group)); err != nil {
			return err
		}
		mode |= fs.ModeSetgid
	}
	return os.Chmod(path, mode)
}

func (v *volumes) owner() ownership {
	own := ownership{user: v.source.user}
	if context := v.source.pod.Spec.SecurityContext; context != nil {
		own.group = context.FSGroup
	}
	return own
}

// refresh brings the volumes up to date with the cluster. What has become missing leaves
// a volume as it is, as on a node; the error says what that was.
func (v *volumes) refresh(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.prepared {
		return nil
	}
	var faults []error
	for i := range v.source.pod.Spec.Volumes {
		volume := &v.source.pod.Spec.Volumes[i]
		content, err := v.source.payload(ctx, volume)
		if content == nil && err == nil {
			continue // emptyDir and hostPath
		}
		if err == nil {
			_, err = publish(v.paths[volume.Name], content, v.owner())
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("volume %s: %w", volume.Name, err))
		}
	}
	return errors.Join(faults...)
}

// token keeps a token until four fifths of its life are over, or a day, as the kubelet does.
func (v *volumes) token(ctx context.Context, key, audience string, life time.Duration) (string, error) {
	now := time.Now()
	if issued, ok := v.tokens[key]; ok && now.Before(issued.refreshAt) {
		return issued.token, nil
	}
	pod := v.source.pod
	token, expires, err := v.source.from.Token(ctx, pod.Namespace, pod.Spec.ServiceAccountName, audience, life)
	if err != nil {
		return "", err
	}
	v.tokens[key] = issuedToken{token, tokenRefresh(now, min(expires.Sub(now), life))}
	return token, nil
}

func tokenRefresh(issued time.Time, life time.Duration) time.Time {
	return issued.Add(min(life*4/5, 24*time.Hour))
}

// mounts are a container's volumes at their places. Variables serve subPathExpr.
func (v *volumes) mounts(c *corev1.Container, env variables) ([]mount, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []mount
	for _, m := range c.VolumeMounts {
		volume := v.volume(m.Name)
		if volume == nil {
			return nil, fmt.Errorf("volumeMount %s: volume: %w", m.Name, fault.NotFound)
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr, func(name string) (string, bool) { value, ok := env[name]; return value, ok })
		}
		source, err := subPath(v.paths[m.Name], sub, volume.EmptyDir != nil)
		if err != nil {
			return nil, fmt.Errorf("volumeMount %s: %w", m.Name, err)
		}
		list = append(list, mount{
			source: source, target: m.MountPath,
			writable: !m.ReadOnly && (volume.EmptyDir != nil || volume.HostPath != nil), // the others cannot be written
			devices:  volume.HostPath != nil && privileged(c),
		})
	}
	return list, nil
}

func (v *volumes) volume(name string) *corev1.Volume {
	list := v.source.pod.Spec.Volumes
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

// subPath is the path of a part of a volume; in an emptyDir it is made.
func subPath(volume, sub string, create bool) (string, error) {
	if sub == "" {
		return volume, nil
	}
	path, err := securejoin.SecureJoin(volume, sub)
	if err != nil {
		return "", fmt.Errorf("subPath %s: %w", sub, err)
	}
	if create {
		if err := errors.Join(os.MkdirAll(path, 0o777), os.Chmod(path, 0o777)); err != nil {
			return "", fmt.Errorf("subPath %s: %w", sub, err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("subPath %s: %w", sub, err)
	}
	return path, nil
}

// hostPath finds a path of a node's file system on this machine, and checks its type.
//
// A container runtime makes a missing folder where the type is not given. We refuse: a
// test must not leave folders on the machine it runs on.
func hostPath(nodeRoot string, h *corev1.HostPathVolumeSource) (string, error) {
	path := filepath.Clean("/" + h.Path)
	if nodeRoot != "" {
		var err error
		if path, err = securejoin.SecureJoin(nodeRoot, h.Path); err != nil {
			return "", fmt.Errorf("hostPath %s: %w", h.Path, err)
		}
	}
	kind := corev1.HostPathUnset
	if h.Type != nil {
		kind = *h.Type
	}
	if err := createHostPath(path, kind); err != nil {
		return "", fmt.Errorf("hostPath %s: %w", h.Path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("hostPath %s: type check %q: no such path on the node: %w", h.Path, kind, fault.NotFound)
	}
	if !isOfType(info.Mode(), kind) {
		return "", fmt.Errorf("hostPath %s: type check: is not a %s: %w", h.Path, kind, fault.Invalid)
	}
	return path, nil
}

func createHostPath(path string, kind corev1.HostPathType) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	switch kind {
	case corev1.HostPathDirectoryOrCreate:
		return os.MkdirAll(path, 0o755)
	case corev1.HostPathFileOrCreate:
		return os.WriteFile(path, nil, 0o644)
	}
	return nil
}

func isOfType(mode fs.FileMode, kind corev1.HostPathType) bool {
	switch kind {
	case corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate:
		return mode.IsDir()
	case corev1.HostPathFile, corev1.HostPathFileOrCreate:
		return mode.IsRegular()
	case corev1.HostPathSocket:
		return mode&fs.ModeSocket != 0
	case corev1.HostPathCharDev:
		return mode&fs.ModeCharDevice != 0
	case corev1.HostPathBlockDev:
		return mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0
	}
	return true
}
