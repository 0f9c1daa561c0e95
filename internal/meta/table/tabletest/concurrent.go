package tabletest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// number is an item that holds n; its version counts the writes.
func (s *subject) number(sk string, n, writes int) table.Item {
	return table.Item{Key: s.key("numbers", sk), Version: strconv.Itoa(writes), Value: []byte(strconv.Itoa(n))}
}

// readNumber returns what number made.
func (s *subject) readNumber(sk string) (n, writes int, err error) {
	it, err := s.Get(context.Background(), s.key("numbers", sk))
	if err != nil {
		return 0, 0, err
	}
	if n, err = strconv.Atoi(string(it.Value)); err != nil {
		return 0, 0, err
	}
	writes, err = strconv.Atoi(it.Version)
	return n, writes, err
}

// testCounter: goroutines that read, add one and write if nobody else did
// lose no addition.
func testCounter(t *testing.T, s *subject) {
	workers, each := s.rounds(8), s.rounds(25)
	s.put(t, s.number("n", 0, 0))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				n, writes, err := s.readNumber("n")
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				next := s.number("n", n+1, writes+1)
				err = s.Write(context.Background(), []table.Action{table.Put(next, table.IfVersion(strconv.Itoa(writes)))})
				if err == nil {
					done++
				} else if !table.IsCondition(err) {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n, writes, err := s.readNumber("n"); n != workers*each || writes != n || err != nil {
		t.Errorf("counter is %d after %d writes, error %v; want %d", n, writes, err, workers*each)
	}
}

// testTransfers: amounts move between accounts in one Write each. Nothing is
// lost or made, and whoever reads all accounts and then checks their versions
// in one Write has seen one moment.
func testTransfers(t *testing.T, s *subject) {
	const accounts, initial = 4, 100
	name := func(i int) string { return "account" + strconv.Itoa(i) }
	for i := range accounts {
		s.put(t, s.number(name(i), initial, 0))
	}
	var moved atomic.Int64
	var working, auditing sync.WaitGroup
	stop := make(chan struct{})
	for w := range s.rounds(6) {
		working.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for done := 0; done < s.rounds(25); {
				from := rng.IntN(accounts)
				to := (from + 1 + rng.IntN(accounts-1)) % accounts
				ok, err := s.transfer(name(from), name(to), rng.IntN(40))
				if err != nil {
					t.Errorf("transfer: %v", err)
					return
				}
				if ok {
					done++
					moved.Add(1)
				}
			}
		})
	}
	audit := func() (seen bool) {
		total, writes := 0, 0
		var checks []table.Action
		for i := range accounts {
			n, w, err := s.readNumber(name(i))
			if err != nil || n < 0 {
				t.Errorf("%s: %d, error %v", name(i), n, err)
				return false
			}
			total, writes = total+n, writes+w
			checks = append(checks, table.Check(s.key("numbers", name(i)), table.IfVersion(strconv.Itoa(w))))
		}
		err := s.Write(context.Background(), checks)
		if err != nil && !table.IsCondition(err) {
			t.Errorf("audit: %v", err)
		}
		if err == nil && (total != accounts*initial || writes%2 != 0) {
			t.Errorf("audit found %d after %d halves of transfers, want %d and an even number", total, writes, accounts*initial)
		}
		return err == nil
	}
	auditing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				audit()
			}
		}
	})
	working.Wait()
	close(stop)
	auditing.Wait()
	if !audit() {
		t.Error("the audit after all transfers was refused")
	}
	writes := 0
	for i := range accounts {
		_, w, err := s.readNumber(name(i))
		if err != nil {
			t.Fatal(err)
		}
		writes += w
	}
	if int64(writes) != 2*moved.Load() {
		t.Errorf("the accounts were written %d times in %d transfers", writes, moved.Load())
	}
}

// transfer moves up to amount. It reports false where somebody was faster.
func (s *subject) transfer(from, to string, amount int) (bool, error) {
	n, nw, err := s.readNumber(from)
	if err != nil {
		return false, err
	}
	m, mw, err := s.readNumber(to)
	if err != nil {
		return false, err
	}
	amount = min(amount, n)
	err = s.Write(context.Background(), []table.Action{
		table.Put(s.number(from, n-amount, nw+1), table.IfVersion(strconv.Itoa(nw))),
		table.Put(s.number(to, m+amount, mw+1), table.IfVersion(strconv.Itoa(mw))),
	})
	if table.IsCondition(err) {
		return false, nil
	}
	return err == nil, err
}

// testWriteSkew: two go off duty, each if the other is on. A Check that held
// when it was evaluated but no longer at the commit would let both go.
func testWriteSkew(t *testing.T, s *subject) {
	ctx := context.Background()
	for round := range s.rounds(40) {
		s := s.fresh()
		s.put(t, s.item("p", "left", "on"), s.item("p", "right", "on"))
		errs := s.race(
			[]table.Action{
				table.Put(s.item("p", "left", "off"), table.IfVersion("on")),
				table.Check(s.key("p", "right"), table.IfVersion("on")),
			},
			[]table.Action{
				table.Check(s.key("p", "left"), table.IfVersion("on")),
				table.Put(s.item("p", "right", "off"), table.IfVersion("on")),
			},
		)
		succeeded := wantRefusalsOnly(t, errs)
		left, err1 := s.Get(ctx, s.key("p", "left"))
		right, err2 := s.Get(ctx, s.key("p", "right"))
		if err1 != nil || err2 != nil {
			t.Fatalf("get: %v, %v", err1, err2)
		}
		if left.Version == "off" && right.Version == "off" || succeeded != 1 {
			t.Errorf("round %d: left is %s, right is %s, %d writes succeeded; want one", round, left.Version, right.Version, succeeded)
		}
	}
}

// testOneWinner: of Writes that demand the same thing, one happens.
func testOneWinner(t *testing.T, s *subject) {
	for _, c := range []struct {
		name string
		make func(s *subject, i int) []table.Action
	}{
		{"create", func(s *subject, i int) []table.Action {
			return []table.Action{table.Put(s.item("p", "new", strconv.Itoa(i)), table.IfAbsent())}
		}},
		{"create two", func(s *subject, i int) []table.Action {
			// The same two keys, every other time in the opposite order.
			a := []table.Action{
				table.Put(s.item("p", "new", strconv.Itoa(i)), table.IfAbsent()),
				table.Put(s.item("q", "new", strconv.Itoa(i)), table.IfAbsent()),
			}
			if i%2 == 1 {
				slices.Reverse(a)
			}
			return a
		}},
		{"delete", func(s *subject, _ int) []table.Action {
			return []table.Action{table.Delete(s.key("p", "old"), table.IfPresent())}
		}},
		{"replace or delete", func(s *subject, i int) []table.Action {
			if i%2 == 0 {
				return []table.Action{table.Delete(s.key("p", "old"), table.IfVersion("v1"))}
			}
			return []table.Action{table.Put(s.item("p", "old", strconv.Itoa(i)), table.IfVersion("v1"))}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range s.rounds(12) {
				s := s.fresh()
				s.put(t, s.item("p", "old", "v1"))
				var writes [][]table.Action
				for i := range s.rounds(8) {
					writes = append(writes, c.make(s, i))
				}
				if n := wantRefusalsOnly(t, s.race(writes...)); n != 1 {
					t.Errorf("%d writes succeeded, want one", n)
				}
			}
		})
	}
}

// race does the writes at the same time and returns their errors.
func (s *subject) race(writes ...[]table.Action) []error {
	errs := make([]error, len(writes))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, actions := range writes {
		wg.Go(func() {
			<-start
			errs[i] = s.Write(context.Background(), actions)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// wantRefusalsOnly counts the successes; no error may be but a ConditionError.
func wantRefusalsOnly(t tb, errs []error) (succeeded int) {
	t.Helper()
	for _, err := range errs {
		if err == nil {
			succeeded++
		} else if !table.IsCondition(err) {
			t.Errorf("write: %v, want a ConditionError", err)
		}
	}
	return succeeded
}

// testQueryBesideWrites: items that nobody touches are found exactly once by
// pages that others' writes come between.
func testQueryBesideWrites(t *testing.T, s *subject) {
	var stable []string
	for i := range 20 {
		stable = append(stable, fmt.Sprintf("%03d stable", 10*i))
	}
	s.fill(t, "p", stable)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 2))
			for {
				select {
				case <-stop:
					return
				default:
				}
				sk := fmt.Sprintf("%03d moving", rng.IntN(200))
				a := table.Put(s.item("p", sk, "v1"), table.Always())
				if rng.IntN(2) == 0 {
					a = table.Delete(s.key("p", sk), table.Always())
				}
				if err := s.Write(context.Background(), []table.Action{a}); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	for round := range s.rounds(20) {
		var got []string
		for _, it := range s.drain(t, table.Range{PK: s.space + "p", Limit: 1 + round%7}) {
			if it.SK[3:] == " stable" {
				got = append(got, it.SK)
			}
		}
		if !slices.Equal(got, stable) {
			t.Errorf("round %d: got %q, want %q", round, got, stable)
		}
	}
	close(stop)
	wg.Wait()
}
