package dev.vmexit.vcpu.soft;

import java.util.function.Predicate;

/**
 * A form of an instruction to hold against the oracle.
 *
 * @param name for reports
 * @param generator writes code and state into a case; false where the drawn operands will not do
 */
record OracleForm(String name, Predicate<OracleCase> generator) {}
