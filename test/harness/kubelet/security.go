package kubelet

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// identity is who a container runs as.
type identity struct {
	uid, gid int64
	groups   []int64 // supplementary
}

// identify settles a container's user as the kubelet does: the container's security
// context, else the pod's, else the image's. A user without a group gets group 0.
func identify(pod *corev1.PodSpec, c *corev1.Container, image Rootfs) (identity, error) {
	podContext, own := pod.SecurityContext, c.SecurityContext
	if podContext == nil {
		podContext = &corev1.PodSecurityContext{}
	}
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	id := identity{uid: image.User, gid: image.Group, groups: slices.Clone(podContext.SupplementalGroups)}
	if uid := either(own.RunAsUser, podContext.RunAsUser); uid != nil && *uid != image.User {
		id.uid, id.gid = *uid, 0
	}
	if gid := either(own.RunAsGroup, podContext.RunAsGroup); gid != nil {
		id.gid = *gid
	}
	if podContext.FSGroup != nil {
		id.groups = append(id.groups, *podContext.FSGroup)
	}
	if nonRoot := either(own.RunAsNonRoot, podContext.RunAsNonRoot); nonRoot != nil && *nonRoot && id.uid == 0 {
		return identity{}, fmt.Errorf("container %s has runAsNonRoot and would run as root: %w", c.Name, fault.Invalid)
	}
	return id, nil
}

func either[T any](first, second *T) *T {
	if first != nil {
		return first
	}
	return second
}

// runtimeCapabilities are those a container runtime leaves to root.
var runtimeCapabilities = [...]string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
	"NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// capabilities are those a container may use, in bubblewrap's spelling. Only root has
// any: runtimes give an ordinary user's process none, whatever the manifest adds.
func capabilities(c *corev1.Container, id identity) []string {
	if id.uid != 0 {
		return nil
	}
	has := map[string]bool{}
	for _, name := range runtimeCapabilities {
		has[name] = true
	}
	if c.SecurityContext != nil && c.SecurityContext.Capabilities != nil {
		for _, dropped := range c.SecurityContext.Capabilities.Drop {
			if dropped == "ALL" {
				clear(has)
			}
			delete(has, string(dropped))
		}
		for _, added := range c.SecurityContext.Capabilities.Add {
			has[string(added)] = true
		}
	}
	var list []string
	for name := range has {
		list = append(list, "CAP_"+name)
	}
	slices.Sort(list)
	return list
}

func privileged(c *corev1.Container) bool {
	return c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged
}

func readOnlyRoot(c *corev1.Container) bool {
	return c.SecurityContext != nil && c.SecurityContext.ReadOnlyRootFilesystem != nil && *c.SecurityContext.ReadOnlyRootFilesystem
}

// commonUser is the user all containers of a pod run as; nil when they differ or leave
// it to the image. The kubelet gives service account tokens to that user alone.
func commonUser(pod *corev1.PodSpec) *int64 {
	var common *int64
	for _, list := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range list {
			var own *int64
			if pod.SecurityContext != nil {
				own = pod.SecurityContext.RunAsUser
			}
			if s := list[i].SecurityContext; s != nil && s.RunAsUser != nil {
				own = s.RunAsUser
			}
			if own == nil || common != nil && *common != *own {
				return nil
			}
			common = own
		}
	}
	return common
}

// unplayed says what of a pod we cannot run as a node would; nil when nothing.
func unplayed(spec *corev1.PodSpec) error {
	refuse := func(what string) error {
		return fmt.Errorf("%s is not played by the test environment's kubelet: %w", what, fault.Invalid)
	}
	for i := range spec.Volumes {
		if !playedVolume(&spec.Volumes[i]) {
			return refuse("the type of volume " + spec.Volumes[i].Name)
		}
	}
	for i := range spec.InitContainers {
		if spec.InitContainers[i].RestartPolicy != nil {
			return refuse("restartPolicy of init container " + spec.InitContainers[i].Name)
		}
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		if c.Lifecycle != nil {
			return refuse("lifecycle of container " + c.Name)
		}
		if len(c.VolumeDevices) > 0 {
			return refuse("a volumeDevice of container " + c.Name)
		}
		for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if p != nil && p.HTTPGet == nil && p.TCPSocket == nil {
				return refuse("a probe other than httpGet and tcpSocket of container " + c.Name)
			}
		}
	}
	return nil
}
