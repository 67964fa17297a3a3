package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Registration is an O-Cloud as it registered last.
type Registration struct {
	GlobalCloudID string `json:"globalCloudId"`
	OCloudID      string `json:"oCloudId"`
	IMSEndpoint   string `json:"IMS_EP"`

	First time.Time `json:"firstRegistration"`
	Last  time.Time `json:"lastRegistration"`
	Times int       `json:"registrations"`
	Caller
}

// RegistrationEntry is a line of the journal: a registration, or that one was taken back.
type RegistrationEntry struct {
	Method        string    `json:"registration"` // POST, or DELETE
	Time          time.Time `json:"time"`
	Path          string    `json:"path"`
	GlobalCloudID string    `json:"globalCloudId,omitempty"` // not of DELETE
	OCloudID      string    `json:"oCloudId"`
	IMSEndpoint   string    `json:"IMS_EP,omitempty"` // not of DELETE
	Caller
	Status int  `json:"status"` // that was answered; 0 when the connection was broken off
	Taken  bool `json:"taken"`  // it counts
}

// Registrations returns the O-Clouds that are registered, in the order of oCloudId.
func (s *Simulator) Registrations() []Registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Registration, 0, len(s.clouds))
	for _, id := range slices.Sorted(maps.Keys(s.clouds)) {
		list = append(list, *s.clouds[id])
	}
	return list
}

// serveRegistrations shows all registrations, or the one of an oCloudId.
func (s *Simulator) serveRegistrations(w http.ResponseWriter, id string) {
	var answer any = s.Registrations()
	if id != "" {
		i := slices.IndexFunc(s.Registrations(), func(r Registration) bool { return strings.EqualFold(r.OCloudID, id) })
		if i < 0 {
			problem(w, http.StatusNotFound, "no O-Cloud with this oCloudId is registered")
			return
		}
		answer = s.Registrations()[i]
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
}

// serveRegistration takes a POST at the path of registrations, or a DELETE of one below it.
func (s *Simulator) serveRegistration(w http.ResponseWriter, r *http.Request, who Caller, body []byte) {
	id := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, s.options.RegistrationPath), "/")
	e := RegistrationEntry{Method: r.Method, Time: time.Now().UTC(), Path: r.URL.Path, OCloudID: strings.ToLower(id), Caller: who}
	switch {
	case r.Method == http.MethodDelete && !s.registered(e.OCloudID):
		problem(w, http.StatusNotFound, "no O-Cloud with this oCloudId is registered")
		return
	case r.Method == http.MethodPost && id != "":
		problem(w, http.StatusMethodNotAllowed, "O-Clouds register at "+s.options.RegistrationPath)
		return
	case r.Method == http.MethodPost:
		if err := e.read(body); err != nil {
			s.printf("not a registration: %v: %.200s\n", err, body)
			problem(w, http.StatusBadRequest, "not a registration: "+err.Error())
			return
		}
	}
	err := s.register(&e)
	finish(w, e.Status, err)
}

func (s *Simulator) registered(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clouds[id] != nil
}

// read checks the body of a registration and reports everything that is wrong with it.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, table 3.6.5.1.2-1.
func (e *RegistrationEntry) read(body []byte) error {
	var b struct {
		GlobalCloudID string `json:"globalCloudId"`
		OCloudID      string `json:"oCloudId"`
		IMSEndpoint   string `json:"IMS_EP"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return errors.New("it is not an object in JSON")
	}
	var faults []string
	for name, text := range map[string]string{"globalCloudId": b.GlobalCloudID, "oCloudId": b.OCloudID} {
		if _, err := uuid.Parse(text); err != nil || len(text) != 36 {
			faults = append(faults, name+" is no UUID")
		}
	}
	if u, err := url.Parse(b.IMSEndpoint); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		faults = append(faults, "IMS_EP is no URL with a host")
	}
	slices.Sort(faults)
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, ", "))
	}
	e.GlobalCloudID, e.OCloudID, e.IMSEndpoint = strings.ToLower(b.GlobalCloudID), strings.ToLower(b.OCloudID), b.IMSEndpoint
	return nil
}

// register decides what becomes of a registration and journals it.
func (s *Simulator) register(e *RegistrationEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Status, e.Taken = s.outcome()
	if e.Taken {
		s.enter(e)
	}
	if !s.options.Quiet {
		s.printRegistration(e)
	}
	return s.write(e)
}

// enter notes a registration, or its end, that counts.
func (s *Simulator) enter(e *RegistrationEntry) {
	if e.Method == http.MethodDelete {
		delete(s.clouds, e.OCloudID)
		return
	}
	c := s.clouds[e.OCloudID]
	if c == nil {
		c = &Registration{OCloudID: e.OCloudID, First: e.Time}
		s.clouds[e.OCloudID] = c
	}
	c.GlobalCloudID, c.IMSEndpoint, c.Caller, c.Last = e.GlobalCloudID, e.IMSEndpoint, e.Caller, e.Time
	c.Times++
}

func (s *Simulator) printRegistration(e *RegistrationEntry) {
	remark := ""
	switch {
	case e.Status == 0 && e.Taken:
		remark = "  taken, and the connection broken off"
	case !e.Taken:
		remark = fmt.Sprintf("  refused with %d", e.Status)
	case e.Method == http.MethodPost && s.clouds[e.OCloudID].Times > 1:
		remark = fmt.Sprintf("  for the %d. time", s.clouds[e.OCloudID].Times)
	}
	what := fmt.Sprintf("registration of O-Cloud %s (globalCloudId %s) at %s", e.OCloudID, e.GlobalCloudID, e.IMSEndpoint)
	if e.Method == http.MethodDelete {
		what = fmt.Sprintf("registration of O-Cloud %s taken back", e.OCloudID)
	}
	fmt.Fprintf(s.out, "%s  %s  %s%s%s\n", e.Time.Format("15:04:05.000"), e.Path, what, e.Caller, remark)
}
