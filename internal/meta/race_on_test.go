//go:build race

package meta

// underRace: the race detector multiplies the time of every history, and finds
// nothing in code that runs one step at a time.
const underRace = true
