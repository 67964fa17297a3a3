package kubelet

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestPayload(t *testing.T) {
	objects := &table{
		secrets:    map[string]map[string][]byte{"hub": {"kubeconfig": []byte("K"), "tls.crt": []byte("C")}},
		configMaps: map[string]map[string]string{"root-ca": {"ca.crt": "CA"}},
	}
	projected := func(sources ...corev1.VolumeProjection) corev1.VolumeSource {
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources, DefaultMode: ptr[int32](0o440)}}
	}
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	for _, tc := range []struct {
		name    string
		volume  corev1.VolumeSource
		user    *int64
		want    payload
		wantErr string
	}{
		{name: "emptyDir has none", volume: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{
			name:   "whole secret",
			volume: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "hub"}},
			want:   payload{"kubeconfig": {[]byte("K"), 0o644}, "tls.crt": {[]byte("C"), 0o644}},
		},
		{
			name: "items with modes",
			volume: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: "hub", DefaultMode: ptr[int32](0o400),
				Items: []corev1.KeyToPath{{Key: "kubeconfig", Path: "a/b"}, {Key: "tls.crt", Path: "c", Mode: ptr[int32](0o444)}},
			}},
			want: payload{"a/b": {[]byte("K"), 0o400}, "c": {[]byte("C"), 0o444}},
		},
		{
			name:    "a key that is not there",
			volume:  corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "hub", Items: []corev1.KeyToPath{{Key: "no", Path: "x"}}}},
			wantErr: `secret "hub" references non-existent key no`,
		},
		{name: "a secret that is not there", volume: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "no"}}, wantErr: `secret "no" not found`},
		{
			name:   "an optional one",
			volume: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("no"), Optional: ptr(true)}},
			want:   payload{},
		},
		{
			name: "projected",
			volume: projected(
				corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "o2ims", ExpirationSeconds: ptr[int64](600), Path: "token"}},
				corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("root-ca")}},
				corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}}},
			),
			want: payload{"token": {[]byte("addon/o2ims-agent/o2ims"), 0o440}, "ca.crt": {[]byte("CA"), 0o440}, "namespace": {[]byte("addon"), 0o440}},
		},
		{
			name:   "a token for the one user",
			volume: projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}),
			user:   ptr[int64](65532),
			want:   payload{"token": {[]byte("addon/o2ims-agent/"), 0o600}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := newVolumes(t.TempDir(), "", examplePod(), nil, objects)
			v.source.user = tc.user
			got, err := v.source.payload(t.Context(), &corev1.Volume{Name: "v", VolumeSource: tc.volume})
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error = %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil || len(got) != len(tc.want) {
				t.Fatalf("got %v, %v; want %v", got, err, tc.want)
			}
			for path, want := range tc.want {
				if file := got[path]; string(file.data) != string(want.data) || file.mode != want.mode {
					t.Errorf("%s = %q %o, want %q %o", path, file.data, file.mode, want.data, want.mode)
				}
			}
		})
	}
}

func TestTokenIsKeptUntilItAges(t *testing.T) {
	objects := &table{}
	v := newVolumes(t.TempDir(), "", examplePod(), nil, objects)
	for range 3 {
		if _, err := v.token(context.Background(), "v/token", "o2ims", 10*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if objects.tokens != 1 || objects.life != 10*time.Minute {
		t.Errorf("%d tokens of %s asked for, want 1 of 10m", objects.tokens, objects.life)
	}
	v.tokens["v/token"] = issuedToken{"old", time.Now()}
	if token, err := v.token(context.Background(), "v/token", "o2ims", 10*time.Minute); err != nil || token == "old" {
		t.Errorf("aged token: %q, %v; want a new one", token, err)
	}
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for life, want := range map[time.Duration]time.Duration{10 * time.Minute: 8 * time.Minute, 1000 * time.Hour: 24 * time.Hour} {
		if got := tokenRefresh(issued, life).Sub(issued); got != want {
			t.Errorf("a token of %s is renewed after %s, want %s", life, got, want)
		}
	}
}

func TestPublish(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) payloadFile { return payloadFile{[]byte(text), 0o440} }
	for _, step := range []struct {
		name    string
		p       payload
		changed bool
		names   []string // visible
	}{
		{"first", payload{"a": file("1"), "sub/b": file("2")}, true, []string{"a", "sub"}},
		{"the same", payload{"a": file("1"), "sub/b": file("2")}, false, []string{"a", "sub"}},
		{"changed, one gone, one new", payload{"a": file("1*"), "c": file("3")}, true, []string{"a", "c"}},
		{"nothing", payload{}, true, nil},
	} {
		changed, err := publish(dir, step.p, ownership{})
		if err != nil || changed != step.changed {
			t.Fatalf("%s: changed %t, %v; want %t", step.name, changed, err, step.changed)
		}
		var names []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		hidden := 0
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "..") {
				hidden++
				continue
			}
			names = append(names, e.Name())
		}
		if !slices.Equal(names, step.names) || hidden != 2 {
			t.Errorf("%s: visible %q, %d hidden; want %q and 2 (..data and what it leads to)", step.name, names, hidden, step.names)
		}
		for name, want := range step.p {
			got, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || string(got) != string(want.data) {
				t.Errorf("%s: %s = %q, %v; want %q", step.name, name, got, err, want.data)
			}
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode() != 0o440 {
				t.Errorf("%s: mode of %s = %v, %v; want 0440", step.name, name, info.Mode(), err)
			}
		}
	}
	if _, err := publish(dir, payload{"../out": file("x")}, ownership{}); err == nil {
		t.Error("a path out of the volume: no error")
	}
}

func TestHostPath(t *testing.T) {
	root := t.TempDir() // stands for a node's file system
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "sys/class"), 0o755),
		os.WriteFile(filepath.Join(root, "sys/file"), nil, 0o600),
		os.Symlink("/sys", filepath.Join(root, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		path string
		kind corev1.HostPathType
		want string // below root
		err  error
	}{
		{"/sys/class", corev1.HostPathUnset, "sys/class", nil},
		{"/sys/class", corev1.HostPathDirectory, "sys/class", nil},
		{"/link/class", corev1.HostPathDirectory, "sys/class", nil}, // the node's link, not this machine's
		{"/../../sys/class", corev1.HostPathUnset, "sys/class", nil},
		{"/sys/class", corev1.HostPathFile, "", fault.Invalid},
		{"/sys/file", corev1.HostPathFile, "sys/file", nil},
		{"/sys/file", corev1.HostPathSocket, "", fault.Invalid},
		{"/absent", corev1.HostPathUnset, "", fault.NotFound},
		{"/absent", corev1.HostPathDirectory, "", fault.NotFound},
		{"/made", corev1.HostPathDirectoryOrCreate, "made", nil},
		{"/made/f", corev1.HostPathFileOrCreate, "made/f", nil},
	} {
		got, err := hostPath(root, &corev1.HostPathVolumeSource{Path: tc.path, Type: &tc.kind})
		if !errors.Is(err, tc.err) {
			t.Errorf("hostPath %s of type %q: error %v, want %v", tc.path, tc.kind, err, tc.err)
		}
		if err == nil && got != filepath.Join(root, tc.want) {
			t.Errorf("hostPath %s of type %q = %s, want %s below the root", tc.path, tc.kind, got, tc.want)
		}
	}
}

func TestMounts(t *testing.T) {
	dir := t.TempDir()
	pod := examplePod()
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "hub", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "hub"}}},
	}
	v := newVolumes(dir, "", pod, nil, &table{secrets: map[string]map[string][]byte{"hub": {"k": []byte("K")}}})
	if err := v.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := v.mounts(&corev1.Container{VolumeMounts: []corev1.VolumeMount{
		{Name: "tmp", MountPath: "/tmp"},
		{Name: "tmp", MountPath: "/own", SubPathExpr: "$(POD)"},
		{Name: "tmp", MountPath: "/fixed", ReadOnly: true},
		{Name: "hub", MountPath: "/hub"},
	}}, variables{"POD": "agent-1"})
	want := []mount{
		{source: filepath.Join(dir, "tmp"), target: "/tmp", writable: true},
		{source: filepath.Join(dir, "tmp/agent-1"), target: "/own", writable: true},
		{source: filepath.Join(dir, "tmp"), target: "/fixed"},
		{source: filepath.Join(dir, "hub"), target: "/hub"}, // a secret cannot be written
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if info, err := os.Stat(filepath.Join(dir, "tmp")); err != nil || info.Mode()&fs.ModePerm != 0o777 {
		t.Errorf("emptyDir: %v, %v; want it open to all", info.Mode(), err)
	}
	for _, m := range []corev1.VolumeMount{{Name: "absent", MountPath: "/x"}, {Name: "hub", MountPath: "/x", SubPath: "absent"}} {
		if _, err := v.mounts(&corev1.Container{VolumeMounts: []corev1.VolumeMount{m}}, nil); err == nil {
			t.Errorf("mount %+v: no error", m)
		}
	}
}
