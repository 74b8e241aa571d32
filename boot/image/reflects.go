package image

import (
	"bytes"
	"slices"
	"strings"
)

// readers are the functions of reflect and internal/reflectlite that look at no
// field, no method table and no type that another leads to but for its element:
// what typeSlow looks up is the type of a method value, and the only function that
// makes one, Value.Method, is not among them. With any other of these packages,
// types stay whole.
var readers = strings.Fields(`
	(*ChanDir).String (*Kind).String (*Value).Close (*Value).Len (*Value).String (*ValueError).Error
	(*interfaceType).NumMethod (*rtype).Kind (*rtype).Len (*rtype).Name (*rtype).String (*rtype).common
	(*rtype).nameOff (*rtype).typeOff (*rtype).uncommon ChanDir.String Kind.String TypeOf
	Value.Bool Value.Close Value.Index Value.Int Value.IsNil Value.Kind Value.Len Value.String Value.Type
	Value.Uint Value.abiTypeSlow Value.lenNonSlice Value.pointer Value.stringNonString ValueOf add arrayAt chanclose
	chanlen elem flag.kind flag.mustBe flag.mustBeExported flag.mustBeExportedSlow flag.ro init maplen
	resolveNameOff resolveTypeOff typeOffFor Value.typeSlow rtype.Comparable rtype.Elem rtype.Len rtype.Name rtype.String rtype.common rtype.nameOff
	toType typedmemmove unpackEface unsafe_New valueMethodName verifyNotInHeapPtr
	Swapper Swapper.func1 Swapper.func2 Swapper.func3 Swapper.func4 Swapper.func5 Swapper.func6 Swapper.func7
	Swapper.func8 Swapper.func9`)

// reflects says which function that is linked or inlined may look at more of a
// type than the runtime does.
func reflects(names []byte) string {
	for n := range bytes.SplitSeq(names, []byte{0}) {
		f, ok := strings.CutPrefix(string(n), "reflect.")
		if !ok {
			f, ok = strings.CutPrefix(string(n), "internal/reflectlite.")
		}
		if ok && !slices.Contains(readers, f) {
			return string(n)
		}
	}
	return ""
}
