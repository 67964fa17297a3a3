package kubelet

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestIdentify(t *testing.T) {
	image := Rootfs{User: 65532, Group: 65532}
	for _, tc := range []struct {
		name    string
		image   Rootfs
		pod     *corev1.PodSecurityContext
		c       *corev1.SecurityContext
		want    identity
		wantErr bool
	}{
		{name: "the image's", image: image, want: identity{uid: 65532, gid: 65532}},
		{name: "the pod's", image: image, pod: &corev1.PodSecurityContext{RunAsUser: ptr[int64](1000)}, want: identity{uid: 1000}},
		{
			name: "the container's before the pod's", image: image,
			pod: &corev1.PodSecurityContext{RunAsUser: ptr[int64](1000), RunAsGroup: ptr[int64](7), FSGroup: ptr[int64](9), SupplementalGroups: []int64{8}},
			c:   &corev1.SecurityContext{RunAsUser: ptr[int64](2000)}, want: identity{uid: 2000, gid: 7, groups: []int64{8, 9}},
		},
		{name: "non-root is so", image: image, pod: &corev1.PodSecurityContext{RunAsNonRoot: ptr(true)}, want: identity{uid: 65532, gid: 65532}},
		{name: "non-root is not so", pod: &corev1.PodSecurityContext{RunAsNonRoot: ptr(true)}, wantErr: true},
		{name: "the container says otherwise", pod: &corev1.PodSecurityContext{RunAsNonRoot: ptr(true)}, c: &corev1.SecurityContext{RunAsNonRoot: ptr(false)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := identify(&corev1.PodSpec{SecurityContext: tc.pod}, &corev1.Container{SecurityContext: tc.c}, tc.image)
			if (err != nil) != tc.wantErr || got.uid != tc.want.uid || got.gid != tc.want.gid || !slices.Equal(got.groups, tc.want.groups) {
				t.Errorf("got %+v, %v; want %+v, error %t", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	context := func(drop, add []corev1.Capability) *corev1.Container {
		return &corev1.Container{SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: drop, Add: add}}}
	}
	all := []corev1.Capability{"ALL"}
	for _, tc := range []struct {
		name string
		c    *corev1.Container
		uid  int64
		want string
	}{
		{"root, all dropped", context(all, nil), 0, ""},
		{"root, one kept", context(all, []corev1.Capability{"NET_ADMIN"}), 0, "CAP_NET_ADMIN"},
		{"another user has none", context(all, []corev1.Capability{"NET_ADMIN"}), 1, ""},
	} {
		if got := strings.Join(capabilities(tc.c, identity{uid: tc.uid}), " "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	if got := capabilities(context([]corev1.Capability{"KILL"}, nil), identity{}); len(got) != len(runtimeCapabilities)-1 || slices.Contains(got, "CAP_KILL") {
		t.Errorf("root without KILL: %q", got)
	}
}

func TestUnplayed(t *testing.T) {
	for _, tc := range []struct {
		name string
		spec corev1.PodSpec
		want string
	}{
		{name: "nothing", spec: corev1.PodSpec{Containers: []corev1.Container{{LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}}}}}},
		{name: "exec probe", spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}}}}}, want: "a probe other than httpGet and tcpSocket of container c"},
		{name: "claim", spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}}}}, want: "the type of volume v"},
	} {
		err := unplayed(&tc.spec)
		if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}
