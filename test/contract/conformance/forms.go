package conformance

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// form is what the value of an attribute must look like.
type form struct {
	what  string // with its article
	check func(v any) error
}

// The forms that attributes have.
var (
	isText   = textForm("a text", func(string) bool { return true })
	isName   = textForm("a text that is not empty", func(s string) bool { return strings.TrimSpace(s) != "" })
	isID     = textForm("a UUID in lower case, not the nil UUID", goodUUID)
	isMemory = textForm("a text such as 65536 MiB", regexp.MustCompile("^[1-9][0-9]* MiB$").MatchString)

	// isTypeName excludes what vendor and model, both unknown, joined by a slash would give.
	isTypeName = textForm("a text that says something", func(s string) bool { return strings.Trim(s, "/ ") != "" })

	isServiceURI = textForm("scheme://host[:port], without path", func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.Path == "" && u.RawQuery == "" && u.User == nil
	})

	isKind             = enumForm("UNDEFINED", "PHYSICAL", "LOGICAL")
	isClass            = enumForm("UNDEFINED", "COMPUTE", "NETWORKING", "STORAGE")
	isAdminState       = enumForm("UNLOCKED", "LOCKED", "SHUTTING_DOWN", "UNKNOWN")
	isOperationalState = enumForm("ENABLED", "DISABLED", "UNKNOWN")
	isUsageState       = enumForm("IDLE", "ACTIVE", "BUSY", "UNKNOWN")

	isMap = form{"an object", func(v any) error {
		_, ok := v.(record)
		return unless(ok, v)
	}}
	isTexts   = arrayForm("an array of texts", isText)
	isNames   = arrayForm("an array of texts that are not empty", isName)
	isIDs     = arrayForm("an array of UUIDs", isID)
	isObjects = arrayForm("an array of objects", isMap)

	isPoint             = form{"a GeoJSON Point: longitude, latitude and perhaps altitude", checkPoint}
	isCivicAddress      = arrayForm("an array of caType, an integer of 0 to 255, and caValue, a text", form{"a civic address element", checkCivic})
	isCapacity          = form{"an object of quantities, or of objects of quantities", checkCapacity}
	isManagerExtensions = form{"an object with profileName", checkManagerExtensions}

	isManagementInterface = form{`["O2IMS"]`, func(v any) error { return unless(canonical(v) == `["O2IMS"]`, v) }}
	isDictionary          = form{"an alarm dictionary", checkDictionary}
	isDefinitions         = arrayForm("an array of alarm definitions", form{"an alarm definition", checkDefinition})
	isCauses              = arrayForm("an array of probable causes", form{"a probable cause", checkCause})
)

func unless(ok bool, v any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("is %s", excerpt([]byte(canonical(v))))
}

func textForm(what string, ok func(string) bool) form {
	return form{what, func(v any) error {
		s, isString := v.(string)
		return unless(isString && ok(s), v)
	}}
}

func enumForm(values ...string) form {
	return textForm("one of "+strings.Join(values, ", "), func(s string) bool { return slices.Contains(values, s) })
}

func arrayForm(what string, element form) form {
	return form{what, func(v any) error {
		array, ok := v.([]any)
		if !ok {
			return unless(false, v)
		}
		for _, e := range array {
			if err := element.check(e); err != nil {
				return fmt.Errorf("has an element that is not %s: %w", element.what, err)
			}
		}
		return nil
	}}
}

// checkPoint: RFC 7946 3.1.2, positions are longitude before latitude.
func checkPoint(v any) error {
	p, _ := v.(record)
	coordinates, _ := p["coordinates"].([]any)
	if text(p, "type") != "Point" || len(coordinates) < 2 || len(coordinates) > 3 {
		return unless(false, v)
	}
	for i, limit := range []float64{180, 90} {
		n, ok := number(coordinates[i])
		if !ok || n < -limit || n > limit {
			return unless(false, v)
		}
	}
	if len(coordinates) == 3 {
		if _, ok := number(coordinates[2]); !ok {
			return unless(false, v)
		}
	}
	return nil
}

func checkCivic(v any) error {
	e, _ := v.(record)
	n, isNumber := number(e["caType"])
	_, isString := e["caValue"].(string)
	return unless(isNumber && isString && n >= 0 && n <= 255 && n == float64(int(n)) && len(e) == 2, v)
}

func checkCapacity(v any) error {
	c, ok := v.(record)
	if !ok {
		return unless(false, v)
	}
	for name, value := range c {
		switch value := value.(type) {
		case string:
			if !quantity.MatchString(value) {
				return fmt.Errorf("has %s: %q, which is no quantity", name, value)
			}
		case record:
			if err := checkCapacity(value); err != nil {
				return err
			}
		default:
			return fmt.Errorf("has %s: %s", name, kind(value))
		}
	}
	return nil
}

// quantity is the form of a Kubernetes quantity.
var quantity = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$`)

func checkManagerExtensions(v any) error {
	e, ok := v.(record)
	return unless(ok && text(e, "profileName") != "", v)
}

func checkDictionary(v any) error {
	d, ok := v.(record)
	if !ok {
		return unless(false, v)
	}
	for _, row := range dictionaryRows() {
		if err := checkAttribute([]record{d}, row); err != nil {
			return err
		}
	}
	return nil
}

func checkCause(v any) error {
	c, ok := v.(record)
	if !ok {
		return unless(false, v)
	}
	for _, row := range []attribute{
		{name: "probableCauseId", good: isID},
		{name: "probableCauseCode", good: isName},
		{name: "probableCauseDescription", good: isName},
	} {
		row.mandatory = true
		if err := checkAttribute([]record{c}, row); err != nil {
			return err
		}
	}
	return nil
}

func checkDefinition(v any) error {
	d, ok := v.(record)
	if !ok {
		return unless(false, v)
	}
	for _, row := range []attribute{
		{name: "alarmDefinitionId", good: isID},
		{name: "alarmName", good: isName},
		{name: "alarmLastChange", good: isText},
		{name: "alarmChangeType", good: enumForm("ADDED", "DELETED", "MODIFIED")},
		{name: "alarmDescription", good: isText},
		{name: "proposedRepairActions", good: isText},
		{name: "clearingType", good: enumForm("AUTOMATIC", "MANUAL")},
		{name: "managementInterfaceId", good: isManagementInterface},
		{name: "pkNotificationField", good: isNames},
	} {
		row.mandatory = true
		if err := checkAttribute([]record{d}, row); err != nil {
			return err
		}
	}
	return nil
}
