//! Worthless keys in the containers of other tools and other times. The password is that of the other vectors.

/// [`P256_PRIVATE`] as `openssl ec` writes it (SEC1).
pub const P256_SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIPMuOto+aUSZ9YuM3mhUsAinQUv5zbbl0Z+ScB16e16ioAoGCCqGSM49
AwEHoUQDQgAEgf8l9LrZVPnZkrS1zePAln5rSx3PgRkrKb3iRRyne8046tyBV1u6
7l9PMwDGVL3x1WGsHv9gsLtwU7HDGA6ZmQ==
-----END EC PRIVATE KEY-----
";

/// [`P384_PRIVATE`] as `openssl ec` writes it (SEC1).
pub const P384_SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MIGkAgEBBDCWdmkGXH/JrMX8reYCEB5kgMbZgZr4EYZ1152+WK9KARcZjIX5pCth
JjJymyJFRfigBwYFK4EEACKhZANiAASl59nKbM9azVpax2GH8YXRSnS3Lw/NHt6x
YeR/QnPlMxfwTBoUe6hJaqB5dksWxHht3txt1FCJxn2FGQnCu7HH5gw4BBEZ656f
C6mgrj/SKufLzmS9kVgOklFHwO5FLsI=
-----END EC PRIVATE KEY-----
";

/// [`P256_PRIVATE`] in OpenSSL's old form, by `openssl ec -aes128`.
pub const P256_OLD_AES128: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,C27EFDB2C0E93F64C6BE1E7DFBA2D0FB

idFvH6u8/57Cv/9yweLxq6+tf0+Dfsm9UbwT7lB2bTPW+6NeJMHIRS785dBA99tL
e2JQu6Fcp+SJubAv4FEsHTa3B8EYMp1muyTogN9quaKYyIwmZKrMm/dqg36wG55m
pA+s4xaQnunJiskh3ACwD20e+bWlj2DQZxqRMoWzjCg=
-----END EC PRIVATE KEY-----
";

/// [`P256_PRIVATE`] in OpenSSL's old form, by `openssl ec -des3`.
pub const P256_OLD_DES3: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: DES-EDE3-CBC,632794EB29D9FCBB

yY+X8kHpVi3IYropEoh4ygBEn8GEF3FBp5eEOrGzdoC7bvqGA0JuvHfwf+pyT62n
IkrZXEd1hsA1Pr1mRj/9tJ/w3E1aATd0MFvVnQVcnvFSqiWOgPuFPiHLynnxOj+e
aHJJUH+0iih0uJC6BclRGxtkCOeJ6C9LHeQk28vVj64=
-----END EC PRIVATE KEY-----
";

/// [`P256_PRIVATE`] in OpenSSL's old form, by `openssl ec -aes192`.
pub const P256_OLD_AES192: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-192-CBC,E569340A4CC9AF98689A9A8435E99AD8

5+JQvAGQ+UNDypYBWZh5eRiOXY155fB99mQnZ6NKSildIPBL6XOdYaeaEfmGECkA
BKYgqK7BjPDTWYRdG4mozBW8ClglyjgYXzAKOwbUYQYLy+NQe/8YUY7mcMxIiQMg
+TieL5+YVn9dDcctlNGkyIWafG/dV51INxMzt3r19hM=
-----END EC PRIVATE KEY-----
";

/// [`P256_PRIVATE`] in OpenSSL's old form, by `openssl ec -aes256`.
pub const P256_OLD_AES256: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,7A087C15703610CC05DA3DD95FFCA55B

+2ytZF8OpDXbolKZky/hCVCQlrIwDle+pYjJVubZlozsttk6H6Xx3Mo3ls+qb16y
sxVKYTsr19jbB2XS6sqvb5Yf3VDiDKkab3VvWmK1/0jLi7DsKNO5T+1+hj7pIC2L
scM02anZuxu7UuAVMTFohSk9JCJ4qeyfQNjkBMowvpc=
-----END EC PRIVATE KEY-----
";

/// [`RSA_PRIVATE`] as securesystemslib 0.28 wrote RSA keys with a password.
pub const RSA_SECURESYSTEMSLIB: &str = "\
-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,A8D5914730D423F9AA0985A5A1ED7606

z/z50CELVq/DEWhmxoU/Xl2iWOBXX/QWY6v2nM/stezv9zIKcVBeXDKfkFqX+Oi2
BBTowYPaV9LqxIWMxEdFU8wW6dRZuWY6klUWA3ctTkezSJS2Po+Cpn/nevbO1fs1
YENWA+b527r+ol3ElXI0KsSwwSywNGRM1tfqpt+eBJhr0/AnTdcauhsqnAXXM3fs
ZLKk6kQVdszSqH4RiquCGMAqHnelLtVrxHzE2lYHbSIjaoxifFWfrkh7rCqCHbgm
l9ZtszkCfpjebBQPDCAnd4jvB3hbTFp1juV+gYKuzNaltIP2VjOe5gzmB7CXPSNW
/9ipFzDjCehJzQ0oORdw4yBNpbBiwBgcoF+nzp/ouhXPXou6npmzLmSlH5XWWH1m
x7VaLtor1OoOq14yxA+tkyFEACb4XfR6ZM6ScR5dzjuO65FQ7xLBuvcN6Gl0UGMu
ZmnlCFOZ/MFiq5dLrL0vOXhwfzLfNF+RfFGprdX4fyStcN9nuv/bfZ+60cGeP74/
/k9kl10z8bI8qvahZFJuVLCdNChdD5p/1kkYHou5MmINdrsbzn5tPn0iBUAibN9c
zLqjxh0Y115ZPmjVd32K1HeQjuFCkb2lS/kfPGm2/psuUkAGDJQN1xNwBtKdBUvV
OUfjObUeQHmdWUb3PRbAL20ON4nKHcim85dv22QpbVhl/gPOxwS525W/RvE1jJMs
oR+DKoJuIA+NcjyO20jMTHblGmeBfMWFdqNZgFg0v6Q+AYxa4KMNgAZcitMAoXjG
NgDVhwV9OKJ1R0acop1XdZN4jf67KzUCKHiYfdazqbYbiAeWmKhLAr1m1l28vZdu
eWeseVjOkRqW9wuv0uexTkGCpEnbaLv37/b54luOMvNp1Zz9C5KzWQpftn2x4E2y
lHzfMMGLGvV7hwe53qtgAyHhwA/IAbc44K4DrV8Wzni5MB/8qoMX3RyREeXiR2mS
fDsgz+gw22DSI++rObrGTvfYw3Nmsx+pOlkTLHoxLwb+bb9SkJTrS3N3Pjkf2xC2
3N4AjKodgJaOelKEWRX8ShtQHy9Hc8PCV8cK9kzqa1YWIBcsjqmzklArl+vGZyiH
oPaozK7iUpK9M2oz/BnKQ3uclJ+/JoSL/3PBtjwgFKXqSXn7Vy1S7Z1PbEaRvwwJ
WOwAb1/47AVEEceijPCS5WejtLA/mjysI0HPZjuhUOzGVCntsEvyHdmXS2g3K8Ci
UuaEaK3keF+GzM7yiFBYCtrkzPhvx34k7h+w+1i41qRaUJ7/zoNCeBGaENSlMuTh
dMJ1TUiX1/G9LOKteoZ7TanXFvjpFt/oHeK7FvmIaAk6ByWB1PZ/RjqXqRRtYhiT
AwM9l+FNxRg//XH3/EecF73UC5RgDmVbfmCNtc3FMkin2PwepD+35F/ylPZPTtta
v+oaK3iy1SmbjwwQRvf7tRuRNvRP87OKEcr33ni4dZrQxjQU2qu5WXiiH6dok5Tj
FSi6hDKwd8VHKe3Js54cNnXsFtv9URQ5QOVnXkzvx8RCetlrg/CDx6E8nB0Q2sJw
SH+oPYqeZnhBS7lFpCtuZjmJpiD/MzBJ7N7gr4qQUudL3XUCZeJ8E8K9ICWQkQdT
-----END RSA PRIVATE KEY-----
";

/// [`ED25519_PRIVATE`] encrypted by `encrypt_key` of securesystemslib 0.28.
pub const ED25519_SECURESYSTEMSLIB: &str = r#"1d95eb825ab2dfc3618615df049d9c20@@@@100000@@@@4e6d62792f4be334074dbf96d8ff5aa25063e7efcdf812ed2d96113e4a0c1ee0@@@@813816416a24a80af54ec0a6b8c6d71c@@@@ccbd002a8be07aa424852c3f540669c850f8083ca0d479a6ed999a600d3a4a089dac8ba6a932d990846f328926f35d63ecb8f89689ca01f71883476f4a334c40ad9f2d00ae6ccaa68aa3b17e6917b10ba8761b2bd2e3bcce342bc109a961e5f18f499e270040d82acc98a732d9d20da99be05040e71d3634bd5282acb0772da9164ca7da99c4bfa3049f7d69bcf19ca8012315c93b31ffbe2ef615dd7c1b3ce286581be3b71ff3a7b6ace899764f4f2c9f828c460758f6e26b5eb8879e1f3d7115fd55ed9d1405f12a892369e9162703d87b27473a367e48f54996eec6e0be33ce03c7a39d07a68a084ea4054c57a3f8d2a30b7d6e979de9263d67080405a06c1de5a6ee88bc478f4110ce4a055f18886903e35c7cdee4efaa7d421ca7e8954f0753c0f45e7d1391099d7ab9dcb187128f0253694c25574a0d567408abb1f964fb9d9b12a3895cba8aae47722338be31"#;

/// [`ED25519_PRIVATE`] as securesystemslib 0.28 wrote it without a password.
pub const ED25519_JSON: &str = r#"{"keytype": "ed25519", "scheme": "ed25519", "keyid": "0000000000000000000000000000000000000000000000000000000000000000", "keyid_hash_algorithms": ["sha256", "sha512"], "keyval": {"public": "2534f001b17aabf02b7a1aacd8b1cbe416ae7ba9cf63193033d0fae74f47cc4a", "private": "b59174fe42dd8767b3042b449b73841e98ec071591a4c01b2c6232fc0e6b4ac0"}}"#;

/// The public half of [`ED25519_PRIVATE`] as securesystemslib 0.28 wrote it.
pub const ED25519_JSON_PUBLIC: &str = r#"{"keytype": "ed25519", "scheme": "ed25519", "keyid_hash_algorithms": ["sha256", "sha512"], "keyval": {"public": "2534f001b17aabf02b7a1aacd8b1cbe416ae7ba9cf63193033d0fae74f47cc4a"}}"#;

/// [`ED25519_PRIVATE`] encrypted by `openssl pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1`.
pub const ED25519_ENCRYPTED_SHA1: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGNMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAhmxs1QvhxlSQICCAAw
HQYJYIZIAWUDBAECBBBhaombAoqjhKj0oKRhTeAjBEB7R7XNJGdIp9sTjogrVmUK
B6W8gOo+KqTLvckVBwWQiIi4o+cwR1LqGLzKYaF7CaJxkJICEKNsfIvbqc3dVlzi
-----END ENCRYPTED PRIVATE KEY-----
";
