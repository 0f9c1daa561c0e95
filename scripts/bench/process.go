package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startBound = 30 * time.Second
	stopBound  = 20 * time.Second
)

// process is a peer that runs.
type process struct {
	peer *peer
	base string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // valid once done is closed
}

// start runs a peer on a directory and waits until it answers.
func (p *peer) start(ctx context.Context, dir string) (*process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	port, err := freePort()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	args, env, err := p.kind.command(p, dir, port)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	logFile, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer logFile.Close()
	run := &process{peer: p, base: "http://" + loopback(port), log: dir + ".log", done: make(chan struct{})}
	run.cmd = exec.Command(p.path, args...)
	run.cmd.Env = append(os.Environ(), env...)
	run.cmd.Stdout, run.cmd.Stderr = logFile, logFile
	// Not in our group: an interrupt from the terminal reaches us alone, and we stop it.
	run.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := run.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		run.err = run.cmd.Wait()
		close(run.done)
	}()
	if err := run.ready(ctx); err != nil {
		run.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", p.name, err, run.tail())
	}
	return run, nil
}

func (r *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return fmt.Errorf("it ended at once: %v", r.err)
		case <-ctx.Done():
			return fmt.Errorf("no answer at %s: %w", r.base, ctx.Err())
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/v2/", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s/v2/: status %d, want 200", r.base, resp.StatusCode)
		}
		return nil
	}
}

// stop ends the process in order, or by force if it takes too long, and waits until what it wrote is on the disk, so that
// it does not slow down whoever is measured next.
func (r *process) stop() {
	r.peer.maxRSS = max(r.peer.maxRSS, r.highWater())
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-r.done:
	case <-time.After(stopBound):
		_ = r.cmd.Process.Kill()
		<-r.done
	}
	syscall.Sync()
}

// alive says whether the process still runs.
func (r *process) alive() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// tail returns the end of the peer's log, for a message about a failure.
func (r *process) tail() string {
	const most = 2000
	text, err := os.ReadFile(r.log)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return "(its log is empty)"
	}
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return "its log ends:\n" + string(text)
}

// cpu returns the CPU time the process has used, 0 where there is no /proc.
func (r *process) cpu() time.Duration {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/stat")
	if err != nil {
		return 0
	}
	// The second field is a name in parentheses that may hold anything; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if errors.Join(err1, err2) != nil {
		return 0
	}
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ is 100 on every Linux that Go runs on
}

// highWater returns the most memory the process has had resident, 0 where there is no /proc. The kernel's figure in the
// exit status will not do: it starts from that of the parent, us.
func (r *process) highWater() int64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64) // 0 is unknown as well
			return kib << 10
		}
	}
	return 0
}

// ownCPU returns the CPU time that this program has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
