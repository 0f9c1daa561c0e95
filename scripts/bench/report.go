package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	beginMark = "<!-- bench:begin -->"
	endMark   = "<!-- bench:end -->"
)

// report is the document: what ran, on what, how fast, and what that means for the aims.
type report struct {
	opts      *options
	peers     []*peer
	workloads []*workload
	results   []result
	taken     time.Time
	load      string // of the machine, before the run
}

// group returns the results of a workload that compare with each other, in order.
func (r *report) groups(w *workload) [][]result {
	var out [][]result
	index := map[string]int{}
	for _, res := range r.results {
		if res.workload != w.name {
			continue
		}
		i, ok := index[res.key]
		if !ok {
			i = len(out)
			index[res.key] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], res)
	}
	return out
}

// ofSlipway returns Slipway's line of a group.
func ofSlipway(group []result) *result {
	for i := range group {
		if group[i].peer.name == "slipway" {
			return &group[i]
		}
	}
	return nil
}

// markdown writes the whole report.
func (r *report) markdown() []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("Taken %s by `%s`.\n\n", r.taken.UTC().Format("2006-01-02 15:04 UTC"), r.opts.commandLine)
	p("Machine: %s. %s\n", machineLine(r.opts.dir), r.load)
	p("Driver and registry share the cores and speak over the loopback. Every peer ran alone, as its own process on its own fresh\n")
	p("directory of the same disk, in alternating order; a figure is the median over the rounds (%d). The last column is Slipway's\n", r.opts.rounds)
	p("rate divided by the peer's; for the parts of a mix, whose shares are fixed, the peer's median divided by Slipway's. Above 1,\n")
	p("Slipway does better. CPU is the time per operation of server / driver.\n\n")
	p("| peer | settings | durability of an acknowledged push | peak memory |\n|---|---|---|---:|\n")
	for _, peer := range r.peers {
		memory := "-"
		if peer.maxRSS > 0 {
			memory = byteSize(peer.maxRSS)
		}
		p("| %s | %s | %s | %s |\n", peer.label(), peer.kind.settings, peer.kind.durability, memory)
	}
	for _, w := range r.workloads {
		groups := r.groups(w)
		p("\n### %s\n\n%s\n\n", w.title, w.about)
		p("| what | peer | ops/s | median | p99 | MB/s | CPU | Slipway |\n|---|---|---:|---:|---:|---:|---:|---:|\n")
		for _, g := range groups {
			own := ofSlipway(g)
			for _, res := range g {
				what := res.measure
				if res.class != "" {
					what += ": " + res.class
				}
				p("| %s | %s | %s | %s | %s | %s | %s | %s |\n", what, res.peer.label(), number(res.OpsPerSec), duration(res.P50), duration(res.P99),
					orDash(res.MBPerSec > 0.05, number(res.MBPerSec)), orDash(res.ServerCPU > 0, duration(res.ServerCPU)+" / "+duration(res.DriverCPU)), times(own, res))
			}
		}
	}
	if lines := r.aims(); len(lines) > 0 {
		p("\n### Aims\n\n| aim | here | |\n|---|---|---|\n%s", strings.Join(lines, ""))
	}
	return b.Bytes()
}

// times is how many times as well Slipway does.
func times(own *result, res result) string {
	if own == nil || own.peer == res.peer || res.OpsPerSec == 0 || own.P50 == 0 {
		return ""
	}
	if res.class != "" {
		return fmt.Sprintf("%.2fx", float64(res.P50)/float64(own.P50))
	}
	return fmt.Sprintf("%.2fx", own.OpsPerSec/res.OpsPerSec)
}

func orDash(ok bool, s string) string {
	if !ok {
		return "-"
	}
	return s
}

func number(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func duration(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	}
}

// text lays the report's tables out for a terminal.
func text(markdown []byte) []byte {
	var out bytes.Buffer
	var rows [][]string
	flush := func() {
		var width []int
		for _, r := range rows {
			for i, c := range r {
				if i == len(width) {
					width = append(width, 0)
				}
				width[i] = max(width[i], len([]rune(c)))
			}
		}
		for _, r := range rows {
			var line strings.Builder
			for i, c := range r {
				line.WriteString(c + strings.Repeat(" ", width[i]-len([]rune(c))+2))
			}
			out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		}
		rows = nil
	}
	for line := range strings.Lines(string(markdown)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "|--"):
		case strings.HasPrefix(line, "|"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		default:
			flush()
			out.WriteString(strings.TrimLeft(line, "# ") + "\n")
		}
	}
	flush()
	return out.Bytes()
}

// save writes the report between its marks, so that what people wrote around them stays; a file that has none, or is not
// there, gets them.
func save(file string, markdown []byte) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save report: %w", err)
	}
	text, err := between(string(old), string(markdown))
	if err != nil {
		return fmt.Errorf("save report: %s: %w", file, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("save report: %w", err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("save report: %w", err)
	}
	return nil
}

// between puts text between the marks of a document.
func between(old, text string) (string, error) {
	block := beginMark + "\n" + strings.TrimRight(text, "\n") + "\n" + endMark
	if old == "" {
		return "# Performance\n\n`make bench` measures Slipway beside other registries and writes what stands between the marks below.\n\n" + block + "\n", nil
	}
	begin, end := strings.Index(old, beginMark), strings.Index(old, endMark)
	switch {
	case begin < 0 && end < 0:
		return strings.TrimRight(old, "\n") + "\n\n" + block + "\n", nil
	case begin < 0 || end < begin:
		return "", fmt.Errorf("the marks %s and %s are not a pair", beginMark, endMark)
	}
	return old[:begin] + block + old[end+len(endMark):], nil
}
