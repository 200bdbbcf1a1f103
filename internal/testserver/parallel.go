package testserver

import (
	"flag"
	"strconv"
)

// Parallel lets n parallel tests run at once unless -parallel says otherwise. TestMain of a package calls it whose tests
// wait for servers, processes and clocks: by default there are as many as processors, which would then stand idle.
func Parallel(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return
	}
	if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
		panic(err)
	}
}
