package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// printResult prints one result on a line.
func printResult(w io.Writer, r result) {
	by := ""
	if r.by != "" && r.verdict != survived {
		by = " by " + r.by
	}
	fmt.Fprintf(w, "%-8s %5.1fs  %-6s %s%s\n", r.verdict, r.took.Seconds(), r.area, r.place(), by)
}

// report prints the table and the faults to look at. It fails if more than allowed survive or some do not compile.
func report(w io.Writer, results []result, allowed int) error {
	total := printTable(w, results)
	for _, r := range results {
		switch {
		case r.verdict == broken:
			fmt.Fprintf(w, "\ndoes not compile: %s (%s): %s\n%s\n%s\n", r.place(), r.area, r.why, indent(r.diff), strings.TrimSpace(r.text))
		case r.verdict == survived:
			fmt.Fprintf(w, "\nsurvived: %s (%s): %s\n%s\n", r.place(), r.area, r.why, indent(r.diff))
			if r.survives != "" {
				fmt.Fprintf(w, "    known: %s\n", r.survives)
			} else {
				fmt.Fprintf(w, "    no reason is known: write a test in %s\n", r.tests)
			}
		case r.survives != "":
			fmt.Fprintf(w, "\ngood news: %s (%s) is killed by %s; its reason to survive can go: %s\n", r.place(), r.area, r.by, r.survives)
		}
	}
	for _, r := range results {
		for _, test := range r.flaky {
			fmt.Fprintf(w, "\nflaky: %s failed with the fault at %s, and passed when it was run alone\n", test, r.place())
		}
	}
	switch {
	case total[broken] > 0:
		return fmt.Errorf("%d faults do not compile; correct the lists", total[broken])
	case total[survived] > allowed:
		return fmt.Errorf("%d faults survive, %d may", total[survived], allowed)
	}
	return nil
}

// printTable prints a line for each area, and one for all, and returns the sums. The time of an area is the sum of its
// runs, of which several are made at a time.
func printTable(w io.Writer, results []result) (total map[verdict]int) {
	type row struct {
		counts map[verdict]int
		n      int
		took   time.Duration
	}
	all := &row{counts: map[verdict]int{}}
	rows := map[string]*row{"all": all}
	var names []string
	for _, r := range results {
		if rows[r.area] == nil {
			rows[r.area] = &row{counts: map[verdict]int{}}
			names = append(names, r.area)
		}
		for _, to := range []*row{rows[r.area], all} {
			to.n++
			to.counts[r.verdict]++
			to.took += r.took
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AREA\tMUTANTS\tKILLED\tSURVIVED\tTIME")
	for _, name := range append(names, "all") {
		r := rows[name]
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\n", name, r.n, r.counts[killed], r.counts[survived], r.took.Round(100*time.Millisecond))
	}
	_ = t.Flush()
	return all.counts
}

// indent is a diff as it is printed.
func indent(diff []string) string { return "    " + strings.Join(diff, "\n    ") }
