package main

import (
	"fmt"
	"strings"
)

// The aims that make a registry of our own worth having, as ratios.
const (
	aimReads = 3.0
	aimPush  = 2.0
	aimBlob  = 0.9
	// aimFlat is how much slower a page of the long tag list may be than one of the short list to count as independent
	// of their number: the noise of this kind of measurement.
	aimFlat = 1.3
)

// aims says of every aim that this run can judge what came out.
func (r *report) aims() []string {
	var out []string
	verdict := func(aim, here string, met bool) {
		word := "missed"
		if met {
			word = "met"
		}
		out = append(out, fmt.Sprintf("| %s | %s | %s |\n", aim, here, word))
	}
	for _, w := range r.workloads {
		groups := r.groups(w)
		switch w.name {
		case "meta":
			for _, g := range groups {
				if ratio, best := againstBest(g, func(p *peer) bool { return true }); best != nil {
					verdict(fmt.Sprintf("manifest %s: at least %.0fx the best peer", g[0].measure, aimReads), fmt.Sprintf("%.2fx %s%s", ratio, best.peer.label(), ceiling(g, best)), ratio >= aimReads)
				}
			}
		case "push":
			for _, g := range groups {
				if ratio, best := againstBest(g, func(p *peer) bool { return p.kind.durable }); best != nil {
					verdict(fmt.Sprintf("small durable push: at least %.0fx the best durable peer", aimPush), fmt.Sprintf("%.2fx %s", ratio, best.peer.label()), ratio >= aimPush)
				}
			}
		case "blob":
			for _, g := range groups {
				own := ofSlipway(g)
				for _, res := range g {
					if own != nil && res.peer.kind.name == "bare" {
						ratio := own.OpsPerSec / res.OpsPerSec
						verdict(fmt.Sprintf("%s: at least %.1f of a bare file server", g[0].measure, aimBlob), fmt.Sprintf("%.2f", ratio), ratio >= aimBlob)
					}
				}
			}
		case "W6":
			r.aimTags(groups, verdict)
		}
	}
	return out
}

// aimTags compares Slipway's pages of the long list with its pages of the short one.
func (r *report) aimTags(groups [][]result, verdict func(aim, here string, met bool)) {
	short := map[string]*result{}
	for _, g := range groups {
		own := ofSlipway(g)
		if own == nil {
			continue
		}
		where, _, ok := strings.Cut(own.measure, " page, ")
		if !ok {
			continue
		}
		if short[where] == nil {
			short[where] = own
			continue
		}
		ratio := float64(own.P50) / float64(short[where].P50)
		verdict("list page independent of the number of tags, "+where+" page",
			fmt.Sprintf("%.2fx the time (%s against %s)", ratio, own.measure, short[where].measure), ratio <= aimFlat)
	}
}

// againstBest is Slipway's rate over that of the fastest of the peers that count.
func againstBest(group []result, counts func(*peer) bool) (float64, *result) {
	own := ofSlipway(group)
	if own == nil {
		return 0, nil
	}
	var best *result
	for i := range group {
		g := &group[i]
		if g.peer.kind.name == "slipway" || g.peer.kind.name == "bare" || !counts(g.peer) {
			continue
		}
		if best == nil || g.OpsPerSec > best.OpsPerSec {
			best = g
		}
	}
	if best == nil || best.OpsPerSec == 0 {
		return 0, nil
	}
	return own.OpsPerSec / best.OpsPerSec, best
}

// ceiling adds what a server that does nothing reaches, since no registry can pass it under this driver, and the ratio of
// the servers' CPU time, which the driver has no part in.
func ceiling(group []result, best *result) string {
	var out string
	if own := ofSlipway(group); own.ServerCPU > 0 && best.ServerCPU > 0 {
		out = fmt.Sprintf(", with %.2f of its CPU time", float64(own.ServerCPU)/float64(best.ServerCPU))
	}
	for _, res := range group {
		if res.peer.kind.name == "bare" {
			out += fmt.Sprintf("; a server that does nothing reaches %.2fx of it here", res.OpsPerSec/best.OpsPerSec)
		}
	}
	return out
}
