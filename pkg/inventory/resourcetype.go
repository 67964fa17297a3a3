package inventory

import (
	"strings"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// name is "<vendor>/<model>", or what is known of it, at the least the class.
func (t *ResourceType) name() string {
	switch {
	case t.Vendor != "" && t.Model != "":
		return t.Vendor + "/" + t.Model
	case t.Vendor != "":
		return t.Vendor + " " + string(t.Class)
	case t.Model != "":
		return t.Model
	default:
		return string(t.Class)
	}
}

func (t *ResourceType) description() string {
	d := strings.ToLower(t.Kind) + " " + string(t.Class)
	if what := makeOf(t.Vendor, t.Model); what != "" {
		d += ", " + what
	}
	return strings.ToUpper(d[:1]) + d[1:]
}

// makeOf joins vendor and model for a person: many models begin with the vendor's name.
func makeOf(vendor, model string) string {
	vendor, model = oneLine(vendor), oneLine(model)
	if strings.HasPrefix(strings.ToLower(model), strings.ToLower(vendor)) {
		return model
	}
	return strings.TrimSpace(vendor + " " + model)
}

// resourceClass is the standard's word for one of our classes.
func resourceClass(c hardware.Class) string {
	switch c {
	case serverClass, clusterClass, hardware.Processor, hardware.Memory, hardware.Accelerator:
		return "COMPUTE"
	case hardware.Adapter, hardware.Port, hardware.PTPClock:
		return "NETWORKING"
	case hardware.Storage:
		return "STORAGE"
	default:
		return undefinedClass
	}
}

const undefinedClass = "UNDEFINED"
