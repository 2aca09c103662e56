package e2ee

import "fmt"

// policyNames are the words of the command line.
var policyNames = map[Policy]string{PolicyPrefer: "prefer", PolicyRequire: "require", PolicyOff: "off"}

// String is the policy's word.
func (p Policy) String() string {
	if name, ok := policyNames[p]; ok {
		return name
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// ParsePolicy reads prefer, require or off.
func ParsePolicy(s string) (Policy, error) {
	for p, name := range policyNames {
		if s == name {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%w: %q is not prefer, require or off", ErrPolicy, s)
}
