package registry

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxPage is the most entries in one page of a list, and how many there are
// where the client names no number.
const maxPage = 1000

// page is what a client asked for of a list: so many entries after the last one
// it has (distribution-spec, "Listing Tags").
type page struct {
	n    int    // 0 to maxPage
	last string // "" for the beginning
}

// parsePage reads the query parameters n and last. Entries of the list are what
// valid accepts; anything else cannot be where a page ended.
func parsePage(q url.Values, valid func(string) bool) (page, error) {
	p := page{n: maxPage, last: q.Get("last")}
	if s := q.Get("n"); s != "" {
		if strings.Trim(s, "0123456789") != "" {
			return page{}, fail(http.StatusBadRequest, CodePaginationInvalid,
				"n is %.40q: it has to be a number, 0 or more", s)
		}
		n, err := strconv.Atoi(s)
		if err != nil || n > maxPage {
			n = maxPage // more than fits an int is more than a page
		}
		p.n = n
	}
	if p.last != "" && !valid(p.last) {
		return page{}, fail(http.StatusBadRequest, CodePaginationInvalid,
			"last is %.80q, which cannot be in the list: send the last entry of the page before, or follow its Link header", p.last)
	}
	return p, nil
}

// setNext points at the page that follows the entry (RFC 8288). Further
// parameters of the list are kept.
func (p page) setNext(w http.ResponseWriter, path, last string, more url.Values) {
	q := url.Values{"n": {strconv.Itoa(p.n)}, "last": {last}}
	for k, v := range more {
		q[k] = v
	}
	w.Header().Set("Link", "<"+path+"?"+q.Encode()+`>; rel="next"`)
}
