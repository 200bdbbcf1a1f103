#!/usr/bin/env bash
# Product: Nimbus OAuth 2.0 SDK 11.39 (Maven Central, com.nimbusds:oauth2-oidc-sdk).
# Expected: BearerTokenError.parse reads the Bearer challenge of a WWW-Authenticate
# field: names of parameters in any case, values as token or as quoted string, blanks
# around "=" (all RFC 9110 section 11.2), other schemes in front (section 11.6.1).
# Instead: error is read as token and as string, but scope only as a string: scope=a
# gives null. Error="..." and error = "..." give an empty object and no exception, as
# if there were no error. With Basic in front the exception says "scheme must be
# OAuth 2.0 DPoP", though a Bearer token was used and Bearer is in the field.
# A server should write error="..." and scope="..." in lower case with quotes and no
# blanks; a client should not take an empty parse for "no error given".
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
cat >pom.xml <<'X'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>p</groupId><artifactId>p</artifactId><version>1</version>
<dependencies><dependency><groupId>com.nimbusds</groupId><artifactId>oauth2-oidc-sdk</artifactId><version>11.39</version></dependency></dependencies></project>
X
mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib
cat >T.java <<'J'
import com.nimbusds.oauth2.sdk.token.BearerTokenError;
public class T {
  static String read(String v) {
    String r;
    try { BearerTokenError e = BearerTokenError.parse(v); r = e.getCode() + " | " + e.getScope(); } catch (Exception e) { r = "exception: " + e.getMessage(); }
    System.out.println(v + "\n    -> " + r);
    return r;
  }
  public static void main(String[] a) {
    boolean ok = read("Bearer error=\"insufficient_scope\", scope=\"a\"").equals("insufficient_scope | a")
      & read("Bearer error=insufficient_scope, scope=a").equals("insufficient_scope | null")
      & read("Bearer Error=\"invalid_token\"").equals("null | null")
      & read("Bearer error = \"invalid_token\"").equals("null | null")
      & read("Basic realm=\"x\", Bearer error=\"invalid_token\"").contains("must be OAuth 2.0 DPoP");
    System.exit(ok ? 0 : 1);
  }
}
J
ls lib/oauth2-oidc-sdk-*.jar | xargs basename
java -cp 'lib/*' T.java
