// Command bench measures Slipway beside other registries: the same driver, the same disk, the same run.
//
//	go run ./scripts/bench                          everything, into docs/PERFORMANCE.md
//	go run ./scripts/bench --quick                  about a minute, to see that it works
//	go run ./scripts/bench --only push,W1           some of it (meta, push, blob, W6, W1, W2)
//	go run ./scripts/bench --peer olareg=/path      one more peer (olareg, zot, or any of ours: slipway-old=/path)
//
// To profile the server under one workload, start from --only and --slipway-arg.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	slipway     string
	slipwayArgs list
	peerPaths   list
	skip        string
	only        string
	dir         string
	out         string
	rounds      int
	duration    time.Duration
	warmup      time.Duration
	tags        int
	tagsBound   time.Duration
	maxLayer    int64
	patch       bool
	quick       bool
	cpuProfile  string
	commandLine string
}

// list is a flag that may be given again.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	if len(os.Args) == 4 && os.Args[1] == bareCommand {
		if err := bareServer(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*options, error) {
	o := &options{}
	var maxLayer int64
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.slipway, "slipway", "bin/slipway", "the binary to measure")
	f.Var(&o.slipwayArgs, "slipway-arg", "a further argument of `slipway serve`; may be repeated")
	f.Var(&o.peerPaths, "peer", "a further peer, `name=/path`; may be repeated")
	f.StringVar(&o.skip, "skip", "", "peers to leave out, of slipway, distribution and bare")
	f.StringVar(&o.only, "only", "", "workloads to run, of meta, push, blob, W6, W1 and W2; all if empty")
	f.StringVar(&o.dir, "dir", "", "where the peers keep their data (default: a fresh directory in the user's cache directory)")
	f.StringVar(&o.out, "out", "", "where the report goes, `-` for nowhere (default docs/PERFORMANCE.md, for a whole run only)")
	f.IntVar(&o.rounds, "rounds", 3, "rounds of every workload")
	f.DurationVar(&o.duration, "duration", 4*time.Second, "time of one measure in one round (W1 and W2 twice, W6 half)")
	f.IntVar(&o.tags, "tags", 100_000, "tags of the long list of W6")
	f.DurationVar(&o.tagsBound, "tags-bound", 90*time.Second, "time a peer gets to take the tags; as many as it took then count")
	f.Int64Var(&maxLayer, "max-layer", 64, "largest layer of W1 and W2, MiB; less if the disk is small")
	f.BoolVar(&o.patch, "patch", false, "upload by PATCH and PUT, as docker and crane do, instead of one PUT, as containerd does")
	f.BoolVar(&o.quick, "quick", false, "a run of about a minute: one short round, few tags, small layers; no figures to quote")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of the driver itself")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	o.warmup = 500 * time.Millisecond
	if o.quick {
		for name, set := range map[string]func(){
			"rounds":     func() { o.rounds = 1 },
			"duration":   func() { o.duration = time.Second },
			"tags":       func() { o.tags = 3000 },
			"tags-bound": func() { o.tagsBound = 8 * time.Second },
			"max-layer":  func() { maxLayer = 8 },
		} {
			if !given[name] {
				set()
			}
		}
		o.warmup = 200 * time.Millisecond
	}
	if o.rounds < 1 || o.duration <= 0 || maxLayer < 1 || o.tags <= 2*tagPage {
		return nil, fmt.Errorf("--rounds and --max-layer must be at least 1, --duration above 0, --tags above %d", 2*tagPage)
	}
	o.maxLayer = maxLayer << 20
	if o.out == "" && !o.quick && o.only == "" && o.skip == "" {
		o.out = filepath.Join("docs", "PERFORMANCE.md")
	}
	o.commandLine = strings.TrimSpace("go run ./scripts/bench " + strings.Join(args, " "))
	return o, nil
}

// uploadForm names the way blobs are uploaded.
func (o *options) uploadForm() string {
	if o.patch {
		return "PATCH and PUT"
	}
	return "one PUT"
}

// prepareDir makes the directory that the peers work in, and says how to remove what was made.
func (o *options) prepareDir() (func(), error) {
	parent := o.dir
	if parent == "" {
		var err error
		if parent, err = cacheDir(); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("prepare --dir: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "run-")
	if err != nil {
		return nil, fmt.Errorf("prepare directory: %w", err)
	}
	if o.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("prepare directory: %w", err)
	}
	remove := func() { os.RemoveAll(o.dir) }
	if fs := fileSystem(o.dir); fs == "tmpfs" || fs == "ramfs" {
		remove()
		return nil, fmt.Errorf("%s is in memory (%s), where nothing is durable: give --dir on a disk", parent, fs)
	}
	// The tail of the layer sizes is scaled to the disk: W2 writes some hundred layers a peer.
	if free := freeBytes(o.dir); free > 0 {
		o.maxLayer = min(o.maxLayer, max(free/1024, 1<<20))
	}
	return remove, nil
}

// peers makes the peers of this run.
func (o *options) peers(ctx context.Context) ([]*peer, *peer, error) {
	skip := strings.Split(o.skip, ",")
	var out []*peer
	if !slices.Contains(skip, "slipway") {
		p, err := newPeer("slipway", o.slipway, o.slipwayArgs)
		if err != nil {
			return nil, nil, fmt.Errorf("%w (make build makes it)", err)
		}
		out = append(out, p)
	}
	given := map[string]string{}
	var order []string
	for _, arg := range o.peerPaths {
		name, path, ok := strings.Cut(arg, "=")
		if _, again := given[name]; !ok || again || name == "slipway" {
			return nil, nil, fmt.Errorf("--peer %q: want name=/path, each name once", arg)
		}
		given[name] = path
		order = append(order, name)
	}
	if _, ok := given["distribution"]; !ok && !slices.Contains(skip, "distribution") {
		path, err := installDistribution(ctx)
		if err != nil {
			return nil, nil, err
		}
		given["distribution"] = path
		order = append([]string{"distribution"}, order...)
	}
	for _, name := range order {
		p, err := newPeer(name, given[name], nil)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, nil, errors.New("no peer to measure")
	}
	if slices.Contains(skip, "bare") {
		return out, nil, nil
	}
	bare, err := newBarePeer()
	return out, bare, err
}

// workloads makes those that --only names, in the order of the report.
func (o *options) workloads() ([]*workload, error) {
	all := []struct {
		name string
		make func() (*workload, error)
	}{
		{"meta", func() (*workload, error) { return metaWorkload(o) }},
		{"push", func() (*workload, error) { return pushWorkload(o) }},
		{"blob", func() (*workload, error) { return blobWorkload(o) }},
		{"W6", func() (*workload, error) { return tagsWorkload(o) }},
		{"W1", func() (*workload, error) { return mixedWorkload(o, "W1", 11, 0.95) }},
		{"W2", func() (*workload, error) { return mixedWorkload(o, "W2", 12, 0.50) }},
	}
	var want []string
	if o.only != "" {
		want = strings.Split(o.only, ",")
	}
	var out []*workload
	for _, w := range all {
		i := slices.IndexFunc(want, func(s string) bool { return strings.EqualFold(s, w.name) })
		if o.only != "" && i < 0 {
			continue
		}
		if i >= 0 {
			want = slices.Delete(want, i, i+1)
		}
		made, err := w.make()
		if err != nil {
			return nil, fmt.Errorf("workload %s: %w", w.name, err)
		}
		out = append(out, made)
	}
	if len(want) > 0 {
		return nil, fmt.Errorf("--only: no workload %q", want)
	}
	return out, nil
}

func bench(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	remove, err := o.prepareDir()
	if err != nil {
		return err
	}
	defer remove()
	peers, bare, err := o.peers(ctx)
	if err != nil {
		return err
	}
	workloads, err := o.workloads()
	if err != nil {
		return err
	}
	if o.cpuProfile != "" {
		f, err := os.Create(o.cpuProfile)
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	begin := time.Now()
	rep := &report{opts: o, workloads: workloads, taken: begin, load: loadLine()}
	run := &runner{opts: o, peers: peers, bare: bare, progress: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}}
	for _, w := range workloads {
		if err := run.run(ctx, w); err != nil {
			return err
		}
	}
	rep.peers, rep.results = peers, run.results
	if bare != nil && slices.ContainsFunc(workloads, func(w *workload) bool { return w.withBare }) {
		rep.peers = append(rep.peers, bare)
	}
	md := rep.markdown()
	if _, err := os.Stdout.Write(text(md)); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	if o.out == "" || o.out == "-" {
		return nil
	}
	return save(o.out, md)
}
