package sqlitefile

import (
	"encoding/binary"
	"math"
)

// The kinds of pages of a table.
const (
	interiorTable = 0x05
	leafTable     = 0x0d
)

// walk reads the rows of one table. Each page is visited once, so that a circle ends.
type walk struct {
	*database
	columns []string
	visited map[uint32]bool
	rows    []Row
	// left is how many bytes the rows that follow may have: together they are no larger than the file.
	left int
}

func (d *database) rows(root uint32, columns []string) ([]Row, error) {
	w := &walk{database: d, columns: columns, visited: map[uint32]bool{}, left: len(d.file) + len(d.logged)*d.size}
	todo := []uint32{root}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		children, err := w.visit(n)
		if err != nil {
			return nil, err
		}
		for i := len(children) - 1; i >= 0; i-- {
			todo = append(todo, children[i])
		}
	}
	return w.rows, nil
}

// visit reads a page of the table and returns those below it, in order.
func (w *walk) visit(n uint32) (children []uint32, err error) {
	page, err := w.fresh(n)
	if err != nil {
		return nil, err
	}
	head := page
	if n == 1 {
		head = page[headerSize:]
	}
	count, cells := int(binary.BigEndian.Uint16(head[3:])), 8
	if head[0] == interiorTable {
		cells = 12
	} else if head[0] != leafTable {
		return nil, ErrDamaged
	}
	if cells+2*count > len(head) {
		return nil, ErrDamaged
	}
	for i := range count {
		at := int(binary.BigEndian.Uint16(head[cells+2*i:]))
		if at >= w.usable {
			return nil, ErrDamaged
		}
		cell := page[at:w.usable]
		if head[0] == interiorTable {
			if len(cell) < 4 {
				return nil, ErrDamaged
			}
			children = append(children, binary.BigEndian.Uint32(cell))
		} else if err := w.leaf(cell); err != nil {
			return nil, err
		}
	}
	if head[0] == interiorTable {
		children = append(children, binary.BigEndian.Uint32(head[8:]))
	}
	return children, nil
}

// fresh returns a page that was not visited before.
func (w *walk) fresh(n uint32) ([]byte, error) {
	if w.visited[n] {
		return nil, ErrDamaged
	}
	w.visited[n] = true
	return w.page(n)
}

// leaf reads a row.
func (w *walk) leaf(cell []byte) error {
	if len(w.rows) == maxRows {
		return ErrTooLarge
	}
	size, n := varint(cell)
	_, m := varint(cell[n:]) // the row's number
	if n == 0 || m == 0 {
		return ErrDamaged
	}
	if size > maxPayload {
		return ErrTooLarge
	}
	if w.left -= int(size); w.left < 0 {
		return ErrDamaged
	}
	payload, err := w.payload(cell[n+m:], int(size))
	if err != nil {
		return err
	}
	row, err := w.record(payload)
	if err != nil {
		return err
	}
	w.rows = append(w.rows, row)
	return nil
}

// payload returns the content of a cell, whose end may lie on other pages.
func (w *walk) payload(cell []byte, size int) ([]byte, error) {
	local := size
	if most := w.usable - 35; size > most {
		least := (w.usable-12)*32/255 - 23
		if local = least + (size-least)%(w.usable-4); local > most {
			local = least
		}
	}
	if local > len(cell) {
		return nil, ErrDamaged
	}
	if local == size {
		return cell[:size], nil
	}
	if local+4 > len(cell) {
		return nil, ErrDamaged
	}
	out := append(make([]byte, 0, size), cell[:local]...)
	for next := binary.BigEndian.Uint32(cell[local:]); len(out) < size; {
		page, err := w.fresh(next)
		if err != nil {
			return nil, err
		}
		next = binary.BigEndian.Uint32(page)
		out = append(out, page[4:4+min(size-len(out), w.usable-4)]...)
	}
	return out, nil
}

// record reads the values of a row. A table may have got columns after the row was written.
func (w *walk) record(p []byte) (Row, error) {
	length, n := varint(p)
	if n == 0 || length > uint64(len(p)) || int(length) < n {
		return nil, ErrDamaged
	}
	types, values := p[n:length], p[length:]
	row := Row{}
	for i := 0; len(types) > 0; i++ {
		kind, n := varint(types)
		if n == 0 {
			return nil, ErrDamaged
		}
		types = types[n:]
		v, size, ok := value(kind, values)
		if !ok {
			return nil, ErrDamaged
		}
		values = values[size:]
		if i < len(w.columns) {
			row[w.columns[i]] = v
		}
	}
	return row, nil
}

// value reads a value of a serial type, and reports its length.
func value(kind uint64, b []byte) (v any, size int, ok bool) {
	switch {
	case kind == 0:
		return nil, 0, true
	case kind == 8, kind == 9:
		return int64(kind - 8), 0, true
	case kind < 7:
		size = [...]int{0, 1, 2, 3, 4, 6, 8}[kind]
		if len(b) < size {
			return nil, 0, false
		}
		n := int64(int8(b[0])) // the sign
		for _, c := range b[1:size] {
			n = n<<8 | int64(c)
		}
		return n, size, true
	case kind == 7:
		if len(b) < 8 {
			return nil, 0, false
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), 8, true
	case kind < 12, (kind-12)/2 > uint64(len(b)):
		return nil, 0, false
	}
	size = int((kind - 12) / 2)
	if kind%2 == 1 {
		return string(b[:size]), size, true
	}
	return b[:size:size], size, true
}

// varint reads a number of one to nine bytes, and reports how many; 0 if it is cut short.
func varint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 8 {
		c := b[n]
		n++
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, n
		}
	}
	if n < 8 || len(b) < 9 {
		return 0, 0
	}
	return v<<8 | uint64(b[8]), 9
}
