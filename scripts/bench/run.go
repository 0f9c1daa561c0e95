package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// workload is one thing to measure on every peer.
type workload struct {
	name  string // as in --only
	title string
	about string
	// withBare measures the bare file server too.
	withBare bool
	// prepare fills a fresh peer; nothing in it is part of the figures.
	prepare func(context.Context, *bed) error
	// measures are what is timed, in this order, in every round.
	measures func(*bed) []measure
}

// measure is one loop: so many clients doing op over and over for a time.
type measure struct {
	name     string
	clients  int
	duration time.Duration
	// classes name the kinds of operation op returns, where they are told apart.
	classes []string
	op      func(context.Context, *worker) (class int, bytes int64, err error)
}

// worker is one client of a measure. Its random numbers depend on the measure, the round and its place only, so that
// every peer is asked the same.
type worker struct {
	*client
	id  int
	rng *rand.Rand
}

// bed is a peer's place in a workload: its directory, and what the workload remembers about it from round to round.
type bed struct {
	*client // while its peer runs
	peer    *peer
	dir     string
	opts    *options
	data    any
	// load is set by a workload whose preparation is worth a line of its own.
	load *loadFigures
}

// loadFigures is a timed preparation.
type loadFigures struct {
	name string
	figures
}

// result is a line of the report: one kind of operation of one measure on one peer, over all rounds.
type result struct {
	workload, measure, class string
	key                      string // equal for what compares: names may hold a count that differs among peers
	clients                  int
	peer                     *peer
	figures
}

// runner runs workloads over peers.
type runner struct {
	opts     *options
	peers    []*peer
	bare     *peer
	results  []result
	progress func(format string, args ...any)
}

// run measures one workload: prepare every peer on a directory of its own, then rounds in which each runs alone in
// turn (A B, B A, A B), then remove the directories.
func (r *runner) run(ctx context.Context, w *workload) error {
	var beds []*bed
	peers := r.peers
	if w.withBare && r.bare != nil {
		peers = append(append([]*peer(nil), peers...), r.bare)
	}
	root := filepath.Join(r.opts.dir, w.name)
	defer func() { // a peer that keeps a directory per tag makes this take a while
		start := time.Now()
		if err := os.RemoveAll(root); err != nil {
			r.progress("%s: %v", w.name, err)
		}
		r.progress("%s: removed its data in %.1fs", w.name, time.Since(start).Seconds())
	}()
	for _, p := range peers {
		b := &bed{peer: p, opts: r.opts, dir: filepath.Join(root, strings.ReplaceAll(strings.ReplaceAll(p.name, "/", "-"), " ", "-"))}
		beds = append(beds, b)
		start := time.Now()
		if p.kind.name == "bare" { // it reads its files when it starts
			if err := os.MkdirAll(b.dir, 0o755); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			if err := w.prepare(ctx, b); err != nil {
				return fmt.Errorf("%s: prepare %s: %w", w.name, p.name, err)
			}
			continue
		}
		if err := r.with(ctx, b, func(*process) error { return w.prepare(ctx, b) }); err != nil {
			return fmt.Errorf("%s: prepare %s: %w", w.name, p.name, err)
		}
		r.progress("%s: prepared %s in %.1fs", w.name, p.name, time.Since(start).Seconds())
	}
	collected := map[*bed][][][]figures{} // per measure and class, the rounds
	for round := range r.opts.rounds {
		for i := range beds {
			b := beds[i]
			if round%2 == 1 {
				b = beds[len(beds)-1-i]
			}
			err := r.with(ctx, b, func(proc *process) error {
				for mi, m := range w.measures(b) {
					figs, err := r.measure(ctx, proc, b, m, round)
					if err != nil {
						return fmt.Errorf("%s: %w", m.name, err)
					}
					for len(collected[b]) <= mi {
						collected[b] = append(collected[b], make([][]figures, len(figs)))
					}
					for ci, f := range figs {
						collected[b][mi][ci] = append(collected[b][mi][ci], f)
					}
					r.progress("%s: round %d: %s: %s: %.1f/s, median %v, p99 %v", w.name, round+1, b.peer.name, m.name,
						figs[0].OpsPerSec, figs[0].P50.Round(time.Microsecond), figs[0].P99.Round(time.Microsecond))
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: round %d: %s: %w", w.name, round+1, b.peer.name, err)
			}
		}
	}
	r.collect(w, beds, collected)
	return nil
}

// collect orders what was measured for the report: by measure, then class, then peer.
func (r *runner) collect(w *workload, beds []*bed, collected map[*bed][][][]figures) {
	for _, b := range beds {
		if b.load != nil {
			r.results = append(r.results, result{workload: w.name, measure: b.load.name, key: "load", peer: b.peer, figures: b.load.figures})
		}
	}
	for mi, m := range w.measures(beds[0]) {
		for ci := range len(m.classes) + 1 {
			class := ""
			if ci > 0 {
				class = m.classes[ci-1]
			}
			for _, b := range beds {
				r.results = append(r.results, result{
					workload: w.name, measure: w.measures(b)[mi].name, class: class, key: fmt.Sprint(mi, "/", ci), clients: m.clients,
					peer: b.peer, figures: overRounds(collected[b][mi][ci]),
				})
			}
		}
	}
}

// with runs a peer on a bed for the length of do.
func (r *runner) with(ctx context.Context, b *bed, do func(*process) error) error {
	proc, err := b.peer.start(ctx, b.dir)
	if err != nil {
		return err
	}
	defer proc.stop()
	b.client = newClient(proc.base, r.opts.patch)
	defer b.client.close()
	err = do(proc)
	switch {
	case err == nil:
		return nil
	case !proc.alive() && ctx.Err() == nil:
		return fmt.Errorf("%w\nthe peer ended: %v\n%s", err, proc.err, proc.tail())
	default:
		return fmt.Errorf("%w\n%s", err, proc.tail())
	}
}

// measure warms up, then times. The first figures are of all operations, the others of each class.
func (r *runner) measure(ctx context.Context, proc *process, b *bed, m measure, round int) ([]figures, error) {
	if _, err := phase(ctx, b, m, r.opts.warmup, uint64(2*round)); err != nil {
		return nil, err
	}
	server, driver := proc.cpu(), ownCPU()
	got, err := phase(ctx, b, m, m.duration, uint64(2*round+1))
	if err != nil {
		return nil, err
	}
	server, driver = proc.cpu()-server, ownCPU()-driver
	var all []time.Duration
	var bytes int64
	out := make([]figures, 1+len(m.classes))
	for i, class := range got.latencies {
		all = append(all, class...)
		bytes += got.bytes[i]
		if len(m.classes) > 0 {
			out[i+1] = summarise(class, got.bytes[i], got.elapsed)
		}
	}
	out[0] = summarise(all, bytes, got.elapsed)
	if n := time.Duration(len(all)); n > 0 {
		out[0].ServerCPU, out[0].DriverCPU = server/n, driver/n
	}
	return out, nil
}

// samples is what the workers of one phase saw, by class.
type samples struct {
	latencies [][]time.Duration
	bytes     []int64
	elapsed   time.Duration
}

// phaseSlack is how long the operations under way when the time is up may still take.
const phaseSlack = 90 * time.Second

// phase lets the clients of a measure run for a time. The first error ends it: a figure over failed requests is none.
func phase(ctx context.Context, b *bed, m measure, length time.Duration, salt uint64) (*samples, error) {
	ctx, cancel := context.WithTimeout(ctx, length+phaseSlack)
	defer cancel()
	classes := max(1, len(m.classes))
	out := &samples{latencies: make([][]time.Duration, classes), bytes: make([]int64, classes)}
	seed := fnv.New64a()
	seed.Write([]byte(m.name))
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		begin = time.Now()
	)
	for i := range m.clients {
		w := &worker{client: b.client, id: i, rng: rand.New(rand.NewPCG(seed.Sum64()^salt, uint64(i)))}
		wg.Go(func() {
			latencies, bytes := make([][]time.Duration, classes), make([]int64, classes)
			var err error
			for now := time.Now(); now.Sub(begin) < length && ctx.Err() == nil; {
				var class int
				var n int64
				if class, n, err = m.op(ctx, w); err != nil {
					cancel()
					break
				}
				end := time.Now()
				latencies[class] = append(latencies[class], end.Sub(now))
				bytes[class] += n
				now = end
			}
			mu.Lock()
			defer mu.Unlock()
			// The others fail because the first one cancelled; its error is the one to tell.
			if err != nil && (first == nil || errors.Is(first, context.Canceled)) {
				first = err
			}
			for c := range classes {
				out.latencies[c] = append(out.latencies[c], latencies[c]...)
				out.bytes[c] += bytes[c]
			}
		})
	}
	wg.Wait()
	out.elapsed = time.Since(begin)
	if first == nil {
		first = ctx.Err()
	}
	return out, first
}

// parallel runs n jobs with so many at a time, for preparations. A job that is not begun when the bound is over is left
// out; it returns how many were done, which are the first ones, and how long each took.
func parallel(ctx context.Context, n, clients int, bound time.Duration, job func(context.Context, int) error) (int, []time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, bound+phaseSlack)
	defer cancel()
	var (
		wg        sync.WaitGroup
		mu        sync.Mutex
		next      int
		latencies []time.Duration
		first     error
		begin     = time.Now()
	)
	for range clients {
		wg.Go(func() {
			for {
				mu.Lock()
				i, stop := next, first != nil || next >= n || time.Since(begin) >= bound
				if !stop {
					next++
				}
				mu.Unlock()
				if stop {
					return
				}
				start := time.Now()
				err := job(ctx, i)
				took := time.Since(start)
				mu.Lock()
				latencies = append(latencies, took)
				if err != nil && first == nil {
					first = err
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if first == nil {
		first = ctx.Err()
	}
	return next, latencies, first
}
