// Command onlyhttp is what the start of the command is measured against: a program that links
// net/http and does nothing.
package main

import _ "net/http"

func main() {}
