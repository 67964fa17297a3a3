// Command container stands for an image's program in the tests of package kubelet: it
// tells what it sees of its container.
//
//	container see FOLDER…     prints a View as JSON and exits
//	container serve PORT…     serves the same on $POD_IP:PORT at /see?folder=…, its health
//	                          at /healthz, which /break makes bad, and ends on SIGTERM
//	container resist          ignores SIGTERM
//	container exit CODE
package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// View is what a process sees.
type View struct {
	Args, Env []string
	UID, GID  int
	PID       int
	Groups    []int
	Hostname  string
	WorkDir   string
	Status    map[string]string // lines of /proc/self/status
	Files     map[string]string // content by path; "error: …" where it cannot be read
	RootWrite string            // "" when a file could be made in /
	Processes int               // folders of /proc that are processes
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "container: no mode")
		os.Exit(2)
	}
	rest := os.Args[2:]
	switch os.Args[1] {
	case "see":
		_ = json.NewEncoder(os.Stdout).Encode(see(rest))
	case "serve":
		serve(rest)
	case "resist":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("resisting")
		for {
			time.Sleep(time.Hour)
		}
	case "exit":
		code, err := strconv.Atoi(rest[0])
		if err != nil {
			panic(err)
		}
		fmt.Println("exiting")
		os.Exit(code)
	}
}

func see(folders []string) View {
	v := View{
		Args: os.Args, Env: os.Environ(), UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid(),
		Status: map[string]string{}, Files: map[string]string{},
	}
	v.Groups, _ = os.Getgroups()
	v.Hostname, _ = os.Hostname()
	v.WorkDir, _ = os.Getwd()
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			v.Status[name] = strings.TrimSpace(value)
		}
	}
	for _, folder := range folders {
		look(folder, v.Files)
	}
	if err := os.WriteFile("/written", nil, 0o600); err != nil {
		v.RootWrite = err.Error()
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			v.Processes++
		}
	}
	return v
}

// look reads a folder as a program would: through links, without the kubelet's "..".
func look(folder string, files map[string]string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		files[folder] = "error: " + err.Error()
		return
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		info, err := os.Stat(path)
		switch {
		case strings.HasPrefix(e.Name(), ".."):
		case err != nil:
			files[path] = "error: " + err.Error()
		case info.IsDir():
			look(path, files)
		case info.Mode()&fs.ModeType != 0 || info.Size() > 1<<16:
			files[path] = info.Mode().String()
		default:
			content, err := os.ReadFile(path)
			if err != nil {
				content = []byte("error: " + err.Error())
			}
			files[path] = string(content)
		}
	}
}

func serve(ports []string) {
	var broken atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/see", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(see(r.URL.Query()["folder"]))
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			http.Error(w, "broken", http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/break", func(http.ResponseWriter, *http.Request) { broken.Store(true) })
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) { // what another place answers
		resp, err := http.Get(r.URL.Query().Get("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_ = resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
	})
	for _, port := range ports {
		if strings.HasPrefix(port, "-") {
			continue // an argument to look at
		}
		l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("POD_IP"), port))
		if err != nil {
			fmt.Fprintln(os.Stderr, "container:", err)
			os.Exit(1)
		}
		go func() { _ = http.Serve(l, mux) }()
	}
	fmt.Println("serving as", os.Getenv("POD_NAME"))
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	fmt.Println("ended by SIGTERM")
}
