package kubelet

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// payload is what a volume made from the cluster's objects contains: files by their
// path in the volume.
type payload map[string]payloadFile

type payloadFile struct {
	data []byte
	mode fs.FileMode
}

// payloadSource is what payloads are made from.
type payloadSource struct {
	pod  *corev1.Pod
	node *corev1.Node
	from objects

	// token gives a service account token that has enough life left; key tells the
	// volumes' tokens apart.
	token func(ctx context.Context, key, audience string, life time.Duration) (string, error)

	// user is the one all containers run as, if they do: only it may read tokens then.
	user *int64
}

const (
	defaultFileMode = fs.FileMode(0o644)
	tokenLife       = time.Hour // where the manifest does not say
)

// payload is the content of a volume, or nil for a volume of another type. Something
// missing that is not optional is an error which names it.
func (s payloadSource) payload(ctx context.Context, v *corev1.Volume) (payload, error) {
	switch {
	case v.Secret != nil:
		return s.secret(v.Secret.SecretName, v.Secret.Items, v.Secret.Optional, modeOf(v.Secret.DefaultMode))
	case v.ConfigMap != nil:
		return s.configMap(v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional, modeOf(v.ConfigMap.DefaultMode))
	case v.DownwardAPI != nil:
		return s.downwardAPI(v.DownwardAPI.Items, modeOf(v.DownwardAPI.DefaultMode))
	case v.Projected != nil:
		return s.projected(ctx, v.Name, v.Projected)
	}
	return nil, nil
}

func modeOf(mode *int32) fs.FileMode {
	if mode == nil {
		return defaultFileMode
	}
	return fs.FileMode(*mode)
}

func (s payloadSource) secret(name string, items []corev1.KeyToPath, optional *bool, mode fs.FileMode) (payload, error) {
	secret, err := s.from.Secret(s.pod.Namespace, name)
	if isOptional(err, optional) {
		return payload{}, nil
	}
	if err != nil {
		return nil, err
	}
	return pick("secret", name, secret.Data, items, optional, mode)
}

func (s payloadSource) configMap(name string, items []corev1.KeyToPath, optional *bool, mode fs.FileMode) (payload, error) {
	cm, err := s.from.ConfigMap(s.pod.Namespace, name)
	if isOptional(err, optional) {
		return payload{}, nil
	}
	if err != nil {
		return nil, err
	}
	data := maps.Clone(cm.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, text := range cm.Data {
		data[key] = []byte(text)
	}
	return pick("configmap", name, data, items, optional, mode)
}

// pick takes the items that are asked for, or everything under its own name.
func pick(kind, name string, data map[string][]byte, items []corev1.KeyToPath, optional *bool, mode fs.FileMode) (payload, error) {
	files := payload{}
	if len(items) == 0 {
		for key, content := range data {
			files[key] = payloadFile{content, mode}
		}
		return files, nil
	}
	for _, item := range items {
		content, ok := data[item.Key]
		if !ok {
			if optional != nil && *optional {
				continue
			}
			return nil, fmt.Errorf("%s %q references non-existent key %s: %w", kind, name, item.Key, fault.NotFound)
		}
		fileMode := mode
		if item.Mode != nil {
			fileMode = fs.FileMode(*item.Mode)
		}
		files[path.Clean(item.Path)] = payloadFile{content, fileMode}
	}
	return files, nil
}

func (s payloadSource) downwardAPI(items []corev1.DownwardAPIVolumeFile, mode fs.FileMode) (payload, error) {
	files := payload{}
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = fieldValue(s.pod, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			value, err = resourceValue(s.pod, nil, s.node, item.ResourceFieldRef)
		}
		if err != nil {
			return nil, fmt.Errorf("downward API file %s: %w", item.Path, err)
		}
		fileMode := mode
		if item.Mode != nil {
			fileMode = fs.FileMode(*item.Mode)
		}
		files[path.Clean(item.Path)] = payloadFile{[]byte(value), fileMode}
	}
	return files, nil
}

// projected merges its sources; where two write one path, the later wins.
func (s payloadSource) projected(ctx context.Context, volume string, p *corev1.ProjectedVolumeSource) (payload, error) {
	files := payload{}
	mode := modeOf(p.DefaultMode)
	for i := range p.Sources {
		part, err := s.projection(ctx, volume, &p.Sources[i], mode)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, part)
	}
	return files, nil
}

func (s payloadSource) projection(ctx context.Context, volume string, p *corev1.VolumeProjection, mode fs.FileMode) (payload, error) {
	switch {
	case p.Secret != nil:
		return s.secret(p.Secret.Name, p.Secret.Items, p.Secret.Optional, mode)
	case p.ConfigMap != nil:
		return s.configMap(p.ConfigMap.Name, p.ConfigMap.Items, p.ConfigMap.Optional, mode)
	case p.DownwardAPI != nil:
		return s.downwardAPI(p.DownwardAPI.Items, mode)
	case p.ServiceAccountToken != nil:
		life := tokenLife
		if seconds := p.ServiceAccountToken.ExpirationSeconds; seconds != nil {
			life = time.Duration(*seconds) * time.Second
		}
		where := path.Clean(p.ServiceAccountToken.Path)
		token, err := s.token(ctx, volume+"/"+where, p.ServiceAccountToken.Audience, life)
		if err != nil {
			return nil, err
		}
		if s.user != nil || s.pod.Spec.SecurityContext != nil && s.pod.Spec.SecurityContext.FSGroup != nil {
			mode = 0o600
		}
		return payload{where: {[]byte(token), mode}}, nil
	}
	return nil, fmt.Errorf("volume %s: a projection of a kind that is not played: %w", volume, fault.Invalid)
}

// playedVolume says whether a volume is of a type that we mount.
func playedVolume(v *corev1.Volume) bool {
	if v.Projected != nil {
		for _, p := range v.Projected.Sources {
			if p.Secret == nil && p.ConfigMap == nil && p.DownwardAPI == nil && p.ServiceAccountToken == nil {
				return false
			}
		}
		return true
	}
	return v.Secret != nil || v.ConfigMap != nil || v.DownwardAPI != nil || v.EmptyDir != nil || v.HostPath != nil
}
