package meta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

// The explorer runs the model's own code in every order that its storage calls
// can take, one call at a time:
//
//	process A   ──read──write──────read──write──▶
//	process B   ───────────read──write─────────▶     every interleaving,
//	sweeper     ──────────────────────read──✕        and a crash before any call
//
// Each history is run from the start with a list of choices; the list is then
// advanced like a counter (depth first). A state that was reached before, with
// every process having seen the same, is not gone on from again.

// grace of the explored registry; the clock only moves in whole graces.
const grace = time.Hour

var errCrashed = errors.New("crashed")

// world is what the processes share.
type world struct {
	mem     *memory
	objects map[string]bool
	clock   time.Time
}

// process is one client or sweeper. It runs on a goroutine of its own, but only
// while the explorer waits for it.
type process struct {
	name     string
	world    *world
	model    *Model
	resume   chan bool // true: go on; false: crash
	paused   chan bool // true: before a call; false: finished
	crashed  bool
	finished bool
	ids      int
	seen     uint64 // hash of everything it read
}

func (p *process) start(maxActions int, run func(*process) error, failed func(error)) {
	p.model = New(&stepTable{p}, Options{Grace: grace, UploadAge: 24 * grace, Clock: func() time.Time { return p.world.clock }})
	p.model.maxActions = maxActions
	p.model.newID = func() string { p.ids++; return fmt.Sprintf("%s-%d", p.name, p.ids) }
	go func() {
		if err := run(p); err != nil && !p.crashed {
			failed(fmt.Errorf("%s: %w", p.name, err))
		}
		p.finished = true
		p.paused <- false
	}()
	<-p.paused
}

// step waits for the explorer's permission to do one storage call.
func (p *process) step() error {
	if p.crashed {
		return errCrashed
	}
	p.paused <- true
	if !<-p.resume {
		p.crashed = true
		return errCrashed
	}
	return nil
}

// saw mixes what a call returned into the state of the process.
func (p *process) saw(what any) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %v", p.seen, what)
	p.seen = h.Sum64()
}

// stepTable is the table as one process sees it.
type stepTable struct{ p *process }

func (t *stepTable) Get(ctx context.Context, k table.Key) (table.Item, error) {
	if err := t.p.step(); err != nil {
		return table.Item{}, err
	}
	it, err := t.p.world.mem.Get(ctx, k)
	t.p.saw(it.Version)
	return it, err
}

func (t *stepTable) BatchGet(ctx context.Context, keys []table.Key) ([]table.Item, error) {
	if err := t.p.step(); err != nil {
		return nil, err
	}
	items, err := t.p.world.mem.BatchGet(ctx, keys)
	for _, it := range items {
		t.p.saw(it.Key.String() + it.Version)
	}
	t.p.saw(len(items))
	return items, err
}

// Query is no snapshot by its contract. The worst that this allows is a page
// that misses whatever came or went while it was read.
func (t *stepTable) Query(ctx context.Context, r table.Range) (table.Page, error) {
	// Which tasks a sweep finds decides when work is done, not whether it is
	// right: no choice is spent on it.
	if strings.HasPrefix(r.PK, "due#") {
		page, err := t.p.world.mem.Query(ctx, r)
		t.sawPage(page)
		return page, err
	}
	if err := t.p.step(); err != nil {
		return table.Page{}, err
	}
	before, err := t.p.world.mem.Query(ctx, r)
	if err != nil {
		return before, err
	}
	t.sawPage(before)
	if err := t.p.step(); err != nil {
		return table.Page{}, err
	}
	page, err := t.p.world.mem.Query(ctx, r)
	page.Items = slices.DeleteFunc(page.Items, func(it table.Item) bool {
		return !slices.ContainsFunc(before.Items, func(b table.Item) bool { return b.Key == it.Key })
	})
	page.More = page.More || before.More
	t.sawPage(page)
	return page, err
}

func (t *stepTable) sawPage(page table.Page) {
	for _, it := range page.Items {
		t.p.saw(it.Key.String() + it.Version)
	}
	t.p.saw(len(page.Items))
}

func (t *stepTable) Write(ctx context.Context, actions []table.Action) error {
	if err := t.p.step(); err != nil {
		return err
	}
	err := t.p.world.mem.Write(ctx, actions)
	t.p.saw(err)
	return err
}

func (t *stepTable) Close() error { return nil }

// Abort and Delete make the process the blob store that a sweep needs.
func (p *process) Abort(ctx context.Context, up blob.Upload) error { return p.Delete(ctx, up.Key) }

func (p *process) Delete(_ context.Context, key string) error {
	if err := p.step(); err != nil {
		return err
	}
	delete(p.world.objects, key)
	return nil
}

// scenario is a start, the processes that run from there, and what must hold.
type scenario struct {
	name       string
	maxActions int // 0: the usual
	crashes    int // how many processes may crash in one history
	setup      func(*process) error
	processes  map[string]func(*process) error
	// after holds of the world when all is over and swept.
	after func(*testing.T, *world)
}

// choice is one branching of a history.
type choice struct{ options, taken int }

// explore runs every history of the scenario and returns how many there were.
func explore(t *testing.T, sc scenario) int {
	t.Helper()
	if sc.maxActions == 0 {
		sc.maxActions = table.MaxActions
	}
	var path []choice
	visited := map[uint64]bool{}
	histories := 0
	for {
		path = runHistory(t, sc, path, visited)
		histories++
		if t.Failed() {
			t.Fatalf("%s: history %d, choices %v", sc.name, histories, path)
		}
		for len(path) > 0 && path[len(path)-1].taken == path[len(path)-1].options-1 {
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			return histories
		}
		path[len(path)-1].taken++
	}
}

// runHistory runs one history along the path and, beyond it, always by the
// first option; it returns the whole path.
func runHistory(t *testing.T, sc scenario, path []choice, visited map[uint64]bool) []choice {
	w := &world{mem: newMemory(), objects: map[string]bool{}, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	alone(t, w, sc.maxActions, "setup", sc.setup)
	names := slices.Sorted(maps.Keys(sc.processes))
	processes := make([]*process, len(names))
	for i, name := range names {
		processes[i] = &process{name: name, world: w, resume: make(chan bool), paused: make(chan bool)}
		processes[i].start(sc.maxActions, sc.processes[name], func(err error) { t.Error(err) })
	}
	crashes := 0
	for depth := 0; ; depth++ {
		checkSafe(t, w)
		var options []func()
		for _, p := range processes {
			if !p.finished {
				options = append(options, func() { p.resume <- true; <-p.paused })
			}
		}
		if len(options) == 0 {
			break
		}
		if crashes < sc.crashes {
			for _, p := range processes {
				if !p.finished {
					options = append(options, func() { crashes++; p.resume <- false; <-p.paused })
				}
			}
		}
		if depth == len(path) {
			s := signature(w, processes, crashes)
			if visited[s] || t.Failed() {
				kill(processes)
				return path
			}
			visited[s] = true
			path = append(path, choice{options: len(options)})
		}
		options[path[depth].taken]()
	}
	// Everybody has ended. Time passes, and sweeps clean up what crashed: first
	// what waits for a grace period, then the upload sessions, too.
	sweepOften(t, w, sc.maxActions, 8)
	w.clock = w.clock.Add(48 * grace)
	sweepOften(t, w, sc.maxActions, 4)
	checkClean(t, w)
	if sc.after != nil {
		sc.after(t, w)
	}
	return path
}

// sweepOften lets the given number of grace periods pass, sweeping after each.
func sweepOften(t *testing.T, w *world, maxActions, graces int) {
	for range graces {
		w.clock = w.clock.Add(grace)
		alone(t, w, maxActions, fmt.Sprintf("sweep%d", w.clock.Unix()), func(p *process) error {
			_, err := p.model.Sweep(context.Background(), p)
			return err
		})
		checkSafe(t, w)
	}
}

// alone runs one process to its end without interruption.
func alone(t *testing.T, w *world, maxActions int, name string, run func(*process) error) {
	if run == nil {
		return
	}
	p := &process{name: name, world: w, resume: make(chan bool), paused: make(chan bool)}
	p.start(maxActions, run, func(err error) { t.Error(err) })
	for !p.finished {
		p.resume <- true
		<-p.paused
	}
}

// kill ends the goroutines of a history that is not gone on with.
func kill(processes []*process) {
	for _, p := range processes {
		for !p.finished {
			p.resume <- false
			<-p.paused
		}
	}
}

// signature tells states apart: the rows, the objects, the clock, and what each
// process has seen, which is all that decides how it goes on.
func signature(w *world, processes []*process, crashes int) uint64 {
	h := fnv.New64a()
	keys := slices.SortedFunc(maps.Keys(w.mem.items), func(a, b table.Key) int {
		return cmp.Or(cmp.Compare(a.PK, b.PK), cmp.Compare(a.SK, b.SK))
	})
	for _, k := range keys {
		it := w.mem.items[k]
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\n", k.PK, k.SK, it.Version, it.Value)
	}
	fmt.Fprintln(h, slices.Sorted(maps.Keys(w.objects)), w.clock.Unix(), crashes)
	for _, p := range processes {
		fmt.Fprintln(h, p.name, p.ids, p.seen, p.crashed, p.finished)
	}
	return h.Sum64()
}
