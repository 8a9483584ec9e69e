//! Keys and signatures that others made, for the tests here. The private keys are public and worthless.

/// A worthless private key, made by `openssl genpkey`.
pub const ED25519_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEILWRdP5C3YdnswQrRJtzhB6Y7AcVkaTAGyxiMvwOa0rA
-----END PRIVATE KEY-----
";

/// Its public half, as securesystemslib writes it.
pub const ED25519_PUBLIC: &str = "2534f001b17aabf02b7a1aacd8b1cbe416ae7ba9cf63193033d0fae74f47cc4a";

/// The id that `SSlibKey.from_crypto` gives it.
pub const ED25519_ID: &str = "eb1a25e049f94bc202e3eecc827e2232eb4bd183d071d2524543c2dd49d8c47f";

/// [`MESSAGE`] signed by securesystemslib's `CryptoSigner`.
pub const ED25519_SIGNATURE: &str = "\
    e527fc237502fbd4330f261295e28f33fd5d1d79983ddc23179b1ce15f33ada80254368b4329a2681e35f96daf9d3b26\
    9b80a1b6980171dc094bd813fd2bce05";

/// A worthless private key, made by `openssl genpkey`.
pub const RSA_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDHZUrO3IU6lFha
tKz2um7dO28Cop/HhOSwHZh7xUfK2Jb6NDbBY9lroaeMzKkJW2J9umyYPVygvb01
/i0m/Eeov4IXCGp7ITVmGM0P4+deOUw4q9nZgeWforPi1mtVh5beeFOTRsixyrH5
a79nB0XNRsETRpl6A9Or5dZ3vjDcrLsD7gt/zZTyrxZ4pIHadmO7MrFY1pl4YGdO
zU4vWDbjwiuq9UgJyuAk/SsSq/hGxtIenadfxM1Kw7zjVMT4CUfzsCRJVcmPSCPK
tH89T4CgF3/YUD3pslkwiNoHjLOp7nDvX66aZ6ccLmiksdRrdLyqe3JRNVgQQ/nI
ouxY5/7DAgMBAAECggEAGgEQz4ec7HXaTAISKJ9JxBpzMNHKqrefJ4TElSe2ZDL5
Bap3laMTAOF1O3yZcvnzD1iXvwcJpID6Qydh9hqisdRAAAb99A7xqt4DKFZdn0Ez
upRW9fHl43rRoPy7xMzJFTx2EdgCZoV7zn6J2MLvDIV0urHTZEFJgrqXzMgGEVFO
SK5xV8V3dFYK6AgX4iS+UQRL5mrEBYzW0YLJuHuTSwgn2oA1+8vyUrSBXR4oxn3C
IU/sCjhIx5Lqx0Zwmf8NR6+3M1e7eV9AxWb0ksogYnodmrFY1k2QjMaCORJiCp1P
NO6u0WuQ5jgd88OtpOotEVEZAg/bZxDmbof9IQiGmQKBgQD81hdsMuXjCkoioaQa
eR2dPfSQsSWQEr6Q/aMhdmbsC+WRwD60Q6EqlOXSFYtX49WTcq15/d506L9gYe20
zA3m6Q3WFlfOQA8/R3UiXr6P32xvuG8dvwisVP0xK+rQBStgYW4Y1JgMh9f3HeIP
xVugrbp+j+XWJ4fYjuplWmEIfwKBgQDJ5APKCRlwQkP30j09K7bARDIW3osxs/X9
yIkOSHa8QNwvcpqHEv3yGzk4puFAT5POSh0BQkK/TWOg0f85IhQFdMER0GwH6ogc
iIb6kxDrlTFdjmdifa2DdCY9+MHvPDBdbyBY/zetdKXfATySV3MOSNOxQb+5SvBC
6JkeKVbHvQKBgQDz4swrOZmY/QbwCv3R73yKfgXYQJicNgiOsarXD3BOR1eF1Wxm
1Em1WnWpxdBo0kPlfBwsbZ9VJGHeZfg2ixLp52rKVTkToaVTg+lQYxXskDb4OW8t
wWVrXnvxH4zcZfAmgzUBTKjyhWLkY3X5goVVI9+eT84DWpRmZ81gQOMSnwKBgQDF
dsNOBIBhEC8yYOuMvQjOHOVxANHcF0xuoImM8stPbZDux4TkwGqpNn9NLcv6/tpu
VobwCEMIoUTkswCSfQZgH8YHCnffdkESx2ZeByHxicby3qm353yiqiQNURU+TPxx
JpPY+CcY/JKP/8Gi0O2z9v82zDwdm3JLvvykR4KdcQKBgGfJeqiaYNodln7GXhqh
2bIC0uhFZ5uQHTumAg1IyugXMUuxx+vO1dgfPVgRBTwjHsbuA02e7GFi15kR4o1C
jusGNE708RJHfflyA01TUTI7a8djCwSvlmAf9kB3EqEExC8TIpLPiri1lzXvxiUw
WJ9gBHfPtKrsl4sIzW8A5b2j
-----END PRIVATE KEY-----
";

/// Its public half, as cryptography writes it.
pub const RSA_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAx2VKztyFOpRYWrSs9rpu
3TtvAqKfx4TksB2Ye8VHytiW+jQ2wWPZa6GnjMypCVtifbpsmD1coL29Nf4tJvxH
qL+CFwhqeyE1ZhjND+PnXjlMOKvZ2YHln6Kz4tZrVYeW3nhTk0bIscqx+Wu/ZwdF
zUbBE0aZegPTq+XWd74w3Ky7A+4Lf82U8q8WeKSB2nZjuzKxWNaZeGBnTs1OL1g2
48IrqvVICcrgJP0rEqv4RsbSHp2nX8TNSsO841TE+AlH87AkSVXJj0gjyrR/PU+A
oBd/2FA96bJZMIjaB4yzqe5w71+ummenHC5opLHUa3S8qntyUTVYEEP5yKLsWOf+
wwIDAQAB
-----END PUBLIC KEY-----
";

/// The id that `SSlibKey.from_crypto` gives it.
pub const RSA_ID: &str = "c24bee526e76fdda4be24f1da58af65ff64452814f9811b18660ef46888cfdfc";

/// [`MESSAGE`] signed by securesystemslib's `CryptoSigner`.
pub const RSA_SIGNATURE: &str = "\
    4e42d7af40ec8e4e37020d84590f184c43131b6d24841ef9456c4a86a57eed78c86d38bf0881219d96dda6e4bf3896f9\
    e3ed980b6ca20a7848502ec81b366b6725b14a1cbbd49293fea8c9c17befd981750bfd381bdf10ccbe505b01af2ef577\
    b3ec7c02e1ce71a83588aed1279c85d971e18029df46df18d925674dc24a769229e58a27433c99d526cc9adc9666c89b\
    a0828d6935a734e0e079dd0ba5866f4a3be5495d7297be75b1db2816645bd594990e9887606ba075f60fedf2d3d7776e\
    9cb4446516fc2b15d5fc776568dd25737e8002781da061e21d649687cda708bdab733a9e26146ef521134e06d0d25c03\
    843f418351f7c847ecf5030ebaa05dd1";

/// [`MESSAGE`] signed by cryptography, RSA-PSS with the longest salt that fits.
pub const RSA_SIGNATURE_LONG_SALT: &str = "\
    2cd5ba75c9f08f04cd135aca12b9c5510a403f195768243d181db26d08ad2127135eb8fd17fae06a2ce37b606ddffca7\
    ea8c8f050790e5346e57c3b1aea4ae43b93cb651cf73c8e624776b4dc2d15848119922a0777ef23bb9a659a14066a6e4\
    d18ebd8d150861becc5c9be4abf1183cbe2f4ab4949b480062e0b6294b28fcb08d891c649bba9d54c125fdb44bb91dcf\
    9ce3303589b7371578eaab1ac30506dfbdb601ce460b486c7e0075e115f3f6f6aef2f2038a019774b8d6e3c0305b4992\
    5e6b127d732e2c38f09e19e8462a4de801826f05bf7505b8fc7d4c91183a307aba7aa7c9c67035078b7cb57c8c09ecd5\
    e5a61a8dc910644bd8be5248a82a48b3";

/// [`MESSAGE`] signed by `CryptoSigner`, scheme `rsa-pkcs1v15-sha256`.
pub const RSA_SIGNATURE_PKCS1V15: &str = "\
    4b0f30e43156beb9122e06a794fba8747c14861728295f21ef12d6bffc8523cf3ccccb811bb4b6e76c01d42dafdbe0e2\
    75c24a5299968f5e235a89f7fc96d6b76a748eaeb9653fabbef9567f40de6e62f7d7ef7ecb06ab57b0bf200129678b6f\
    8f9e40d077de507717d1c7fe1d770b4e9ba76015ee1a40709b8899784ddc8991b927271f35a34a85c24af9b745c904ff\
    31de7d204e5d94875c87f03351326865ee9417868adbd103ab53f6d30d745bf825b2aeff08470a37934eea49281f794a\
    2ae188cd24bdc6f9663a4e6725561497872c9c4f6c174e968679a226ce2db5188bbea66d29a5845dbedef5122440ff4f\
    e10de14ec9d14b70a53dc9b8f2684f79";

/// The public half as `openssl rsa -RSAPublicKey_out` writes it.
pub const RSA_PUBLIC_PKCS1: &str = "\
-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAx2VKztyFOpRYWrSs9rpu3TtvAqKfx4TksB2Ye8VHytiW+jQ2wWPZ
a6GnjMypCVtifbpsmD1coL29Nf4tJvxHqL+CFwhqeyE1ZhjND+PnXjlMOKvZ2YHl
n6Kz4tZrVYeW3nhTk0bIscqx+Wu/ZwdFzUbBE0aZegPTq+XWd74w3Ky7A+4Lf82U
8q8WeKSB2nZjuzKxWNaZeGBnTs1OL1g248IrqvVICcrgJP0rEqv4RsbSHp2nX8TN
SsO841TE+AlH87AkSVXJj0gjyrR/PU+AoBd/2FA96bJZMIjaB4yzqe5w71+ummen
HC5opLHUa3S8qntyUTVYEEP5yKLsWOf+wwIDAQAB
-----END RSA PUBLIC KEY-----
";

/// A worthless private key, made by `openssl genpkey`.
pub const P256_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8y462j5pRJn1i4ze
aFSwCKdBS/nNtuXRn5JwHXp7XqKhRANCAASB/yX0utlU+dmStLXN48CWfmtLHc+B
GSspveJFHKd7zTjq3IFXW7ruX08zAMZUvfHVYawe/2Cwu3BTscMYDpmZ
-----END PRIVATE KEY-----
";

/// Its public half, as cryptography writes it.
pub const P256_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEgf8l9LrZVPnZkrS1zePAln5rSx3P
gRkrKb3iRRyne8046tyBV1u67l9PMwDGVL3x1WGsHv9gsLtwU7HDGA6ZmQ==
-----END PUBLIC KEY-----
";

/// The id that `SSlibKey.from_crypto` gives it.
pub const P256_ID: &str = "fc45d31047fe6eb18c5dd5b1d9233d471cb9b561a88768ca1d3bdc4417d3f38e";

/// [`MESSAGE`] signed by securesystemslib's `CryptoSigner`.
pub const P256_SIGNATURE: &str = "\
    3045022100dce3312650f0b3ae8d950be4c82e6c670932209389637bb4438cb5212902b32102204968d8ba4e1d6b3eab\
    118406e38d593e91198cd04693c77d56b75babc478bb4a";

/// The public half as a point in hexadecimal, compressed.
pub const P256_POINT: &str = "0381ff25f4bad954f9d992b4b5cde3c0967e6b4b1dcf81192b29bde2451ca77bcd";

/// The public half as a point in hexadecimal, uncompressed.
pub const P256_POINT_LONG: &str = "\
    0481ff25f4bad954f9d992b4b5cde3c0967e6b4b1dcf81192b29bde2451ca77bcd38eadc81575bbaee5f4f3300c654bd\
    f1d561ac1eff60b0bb7053b1c3180e9999";

/// A worthless private key, made by `openssl genpkey`.
pub const P384_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCWdmkGXH/JrMX8reYC
EB5kgMbZgZr4EYZ1152+WK9KARcZjIX5pCthJjJymyJFRfihZANiAASl59nKbM9a
zVpax2GH8YXRSnS3Lw/NHt6xYeR/QnPlMxfwTBoUe6hJaqB5dksWxHht3txt1FCJ
xn2FGQnCu7HH5gw4BBEZ656fC6mgrj/SKufLzmS9kVgOklFHwO5FLsI=
-----END PRIVATE KEY-----
";

/// Its public half, as cryptography writes it.
pub const P384_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEpefZymzPWs1aWsdhh/GF0Up0ty8PzR7e
sWHkf0Jz5TMX8EwaFHuoSWqgeXZLFsR4bd7cbdRQicZ9hRkJwruxx+YMOAQRGeue
nwupoK4/0irny85kvZFYDpJRR8DuRS7C
-----END PUBLIC KEY-----
";

/// The id that `SSlibKey.from_crypto` gives it.
pub const P384_ID: &str = "37ada25354c437db3852c67360e63d9548a00f9a65d22cd5d3af66d6a46319f2";

/// [`MESSAGE`] signed by securesystemslib's `CryptoSigner`.
pub const P384_SIGNATURE: &str = "\
    3066023100eddb0beeed7ca815864bbf65812efe62774dcc0895268a5ca86a968dae18118fc28e95aaf478ee94f98a08\
    0ff8ef3327023100ade527b00bd256daa3ede130c1cf6e230ed3b8d018d692ab5944a8b1a65f27a9c4cbd6c7aca62794\
    6e2b8681d7504976";

/// The public half as a point in hexadecimal, compressed.
pub const P384_POINT: &str = "\
    02a5e7d9ca6ccf5acd5a5ac76187f185d14a74b72f0fcd1edeb161e47f4273e53317f04c1a147ba8496aa079764b16c4\
    78";

/// The public half as a point in hexadecimal, uncompressed.
pub const P384_POINT_LONG: &str = "\
    04a5e7d9ca6ccf5acd5a5ac76187f185d14a74b72f0fcd1edeb161e47f4273e53317f04c1a147ba8496aa079764b16c4\
    786ddedc6dd45089c67d851909c2bbb1c7e60c38041119eb9e9f0ba9a0ae3fd22ae7cbce64bd91580e925147c0ee452e\
    c2";

/// [`ED25519_PRIVATE`] encrypted by `openssl pkcs8 -topk8 -v2 aes-256-cbc` (PBKDF2, HMAC-SHA-256).
pub const ED25519_ENCRYPTED_PBKDF2: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhXoFDGTQX6WwICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEMJMLtnm7PBvubxHQoRzxjkEQAH/
aA8jgGm0iJtIcwUXHIpbs9a00lUjh58HWNm7+geE53bMm9TcAjohUeLhn+K9MhXF
BC3tHXDtXjsftg631Y8=
-----END ENCRYPTED PRIVATE KEY-----
";

/// [`P256_PRIVATE`] encrypted by `openssl pkcs8 -topk8 -scrypt`.
pub const P256_ENCRYPTED_SCRYPT: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAiLqgiqaM8A3AICQAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBDUiNt8al0xC778Gy/WVapeBIGQB1sbIioLOaIH
xaVEYGycDYhepn0ZY6RSR1Yc67jjwt9nlFbzLbn6akeCKcaBv1pS9Q/HiNXJ3eYr
YdCyUbAI9n7lrg2mFwJL6dxL1CgAid7ZKgOVkRBHOHn46iP1HbG0LvHwPL8v91M1
8kkdVvfSsAQ64+9NXnZUeoTydvj6cIO+KY3zxaPCFG4WTqpIvFek
-----END ENCRYPTED PRIVATE KEY-----
";

/// [`P256_PRIVATE`] encrypted by `openssl pkcs8 -topk8 -v2 des3`.
pub const P256_ENCRYPTED_DES3: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHjME4GCSqGSIb3DQEFDTBBMCkGCSqGSIb3DQEFDDAcBAhSFbPetGxN8AICCAAw
DAYIKoZIhvcNAgkFADAUBggqhkiG9w0DBwQIOGfniY4W5dwEgZBcIQZDuVjm3b7P
P2YdiTxICju2kKU9sGYHBXs8EhRKbMJ5Z3QpjMtiPi4rfMynR+dl+qLwmXXeWy0w
m2mlQ8Yr8fOElZwczKNiSA5WPNaVd4/bLdWUaBAvnLUu10Opljjr/v0buQpYqmAO
aJiuLuSC3FAe4smZqYKIqw0xtX7VZTgidxfGbmTLeZGDSzbxa/U=
-----END ENCRYPTED PRIVATE KEY-----
";

/// [`P256_PRIVATE`] encrypted by `openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES`.
pub const P256_ENCRYPTED_PBES1: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGxMBwGCiqGSIb3DQEMAQMwDgQIU66JCVFHkmkCAggABIGQJJ8umr15XqSvj89H
AZQHAxVCS7hlm0Cdpxzan8zVREDTgg9Z5FDn70tdmEaBPRswJ3vfNzcKgm3oeZkW
S5JKb8KhKGqw+qKbQ3sZAQqnc+dE17loHz1EJ7PyZhSo9j3/GHVD55z+LWT9XKN3
1m4hTjEQyh4atQVRlUFRwHU4Sq1Ttqdpo/NxALTb8blqoTsQ
-----END ENCRYPTED PRIVATE KEY-----
";

/// A worthless key on a curve that TUF does not use, made by `openssl genpkey`.
pub const SECP256K1_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgLt4wpE21rpfco5WPskAM
IVbGNjHwufC3WmaW2qzvTtehRANCAAQLv2dZYQo++n26f6bLKmnQp/Jad/f0w2si
Jx34sGK0b/U9qoDycJrKwrwnfw2nbtjRSohbUqvtMutvzJs5HyQg
-----END PRIVATE KEY-----
";

/// A worthless key that is for RSA-PSS only, made by `openssl genpkey -algorithm rsa-pss`.
pub const RSA_PSS_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEuwIBADALBgkqhkiG9w0BAQoEggSnMIIEowIBAAKCAQEAp/PyGcITd39Hu9It
ws4NmN+URAwJw8sicU7wTWafMbYuXLve55yGXGnO4S4U6B64+1FeYZ6cZR1cKtLw
BvNuhYxZZTGlNpEZOkrxjK/RXHUXitUDX408VGdANj3P9hwcDPTfCiq92bMG+RHu
XyFF+p++E3JSqSPVPSGAoViBKvsO4BOypevTgvFCGFAmCk+Qy9dK2UdOXl9UfPHe
kWzuUURxXr/Z1GjfkiYEfpRrHjbAFsIjxZgJTdDPRNtHstfDLtZbdhLDG0tCkeSq
GhhObjOKxWSMkhNZljVcPaEVM+YKnqbO1N2LM+W6pdFlqhsftLCPJBV88fi4fOZi
RXjxfwIDAQABAoIBABDq9Dye/YoAcq/bLIveaKU5BDzUf5lO2XHTc0ZAq5F82e+y
ZvIqpKgjaljpZOa6zYRXPmwT54oR6opPxCjXFY9zQz/7v7oe5I0oJmu2/B5VlyD/
cv8JgYW4/tFX6Z5PV44AjoT+KDCJJY8qPLotZlioBaP81JHAD8dAHC5kdWJoTN/t
yxZlAPh/Nl+IXdH7QshyQCRtVp1jkhJC0+0NpcxHZLYFGPyG0Ry6SxQGtcoYl9ns
Q4kaQZ3XwxoaC2oe7hZ7D3f+9+ddX4zwsvY7HQWYG9TbiPTT4BYk88lIeVo5npMN
qvHtXHl9Vqdk79bdE0yIZ1F1pdKUObxAnyTu0rUCgYEA0xgjV5+QCMPR5KUkkyGT
yliPbgSk8yh0qRV+cCE7bHPF4Q/eLKoxuVfuJkNuJXXNNHNaD6V9f0uSOz/bE4z7
OhzIw5oHUEBRThqFRhImDAck4nrxuhXSCz7xPCqbnoLlINFgBlDxfFgeYDue5DPQ
gr5YohsnVLQrE8sQPZYXMpsCgYEAy65ld7vDdCItMd9B74nvV1IkiA18LTqt53+x
FTZVCOCb0qmX3Dfuc9yDJVHwvqfzlOLxDEIo5fM45jKZa04A+ssowoiiJeKpzUmL
pDaOS+ovAIO2A5+vsac/FjImnU7CBXvA5gq5w/Fxr0YXKEwfXkCY9tT3uYS1fb3w
7JvCyO0CgYEAjFa12GE6brlQ54NrB24BRTsPUANCbm3s8SRbBMzzJqzpVzEnceZM
XH4607FsnvbsT/yIWXKaNnDVbRKM4TiPJRlR18ilKBM6eoRjKiySoth1CyTVY/Nx
ywwzcN6ayw0Wq3THNCvH//TNbQj2H5za+LD3V/5ZbZTCNsx/pZINJhUCgYAfOZIm
o+tX33FsRty120CM83PUQ7T4vhkw9ztvlA+/N6fLyOIWCaENtA2K6B/vKpJGDfCE
P5RDhGEBsVohwCiYShLql8W75x6+8PpuZ0qzSqh//LEnpxBpPMmIHpIa5ZsK+ijd
W2GVL2uNQkKEk/7vFRoeJRIBJ94m87p+m3ZmFQKBgHoLtphqVxbIOvP44KKTIqoh
CdL6J+RK+NFHEga5BSHrV/IQsFJB3+do3Mt1IHQQ75536tmSdrfnun8U0/iWRa/6
HqfUbPwJ2l9WIUqT+eDAia+TOQolS5ml//ZPK2z0agmC96kCVqgZpt6AiyQCIaf/
HFrjvcuKMrzidYNSTLLL
-----END PRIVATE KEY-----
";

/// A worthless and too short key, made by `openssl genpkey`.
pub const RSA_1024_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBALYsxhYbCsOAu0od
CWGyGkbdem9gTNN9B/99P8UFDFKElaTh9e4O8lGZwuNmiUVM0rYNT5p4YYcsjHwI
lVlrUa7OaCdKRSTU0MYV4mmRc263JbLbVKwX3yGwhIwMy8Il6nXe6uRcJRad4dVh
oli6KezeHH5PHxhZik4rnEWtqm2zAgMBAAECgYA30dZMVbLhnqNEnUsPnVQB3ME0
OUyxDMGTnlwY0WgqLKfxoq8JZ5kGOdgGd5eeHWD/GWsHyNURZywQoUyp3oFjSud1
7y9ORuFO3p/uaw/T93O7AKi4Ld0hjd+iB05tp0iwMN9YjAXcW+lTkj/KLkKpD6Pi
380q/4PYDKNgrrV6EQJBAOnC0byen+azfoRSBd2g2JC2Xac/WAXFR+tXAY7XYt2b
uNPt7NcXb0/Pui0qOX+WR4/4RSHP63YnOEjRNm6K2nsCQQDHgZb+xsRJg0HIHeiX
bcjpGzndsO/i91+t1U+OnGIq0PT9BZeYp7Zz8zx/EW2rPHFaD9hLGgeqwsR+glN2
RVApAkEAyma2RZQvLYkTLaz7iTeg7EQK+Soeo/h6WioenjieUPVpZo7m+CJBbiCV
uk+KM4/CbMTxzuIBpW82C86iS7qMiwJBALKdMMQ0zDNMki5JqJ06Ku+X8nyqFnrL
IhwNp8Zz9+eBYHTO9uQy8sRodjcFMXxnBsys9uZ2DXsyGJ1yrKpsb9ECQQCWZFQ4
VJTEfh3Kmmm3av+2989tgpzjWFJ8IYxFR4Wmu4H/X1UrAY3EqnOR6YijlvdslPDR
2LKAjpOVQtOVsvGI
-----END PRIVATE KEY-----
";

/// The public half of [`RSA_1024_PRIVATE`].
pub const RSA_1024_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC2LMYWGwrDgLtKHQlhshpG3Xpv
YEzTfQf/fT/FBQxShJWk4fXuDvJRmcLjZolFTNK2DU+aeGGHLIx8CJVZa1Guzmgn
SkUk1NDGFeJpkXNutyWy21SsF98hsISMDMvCJep13urkXCUWneHVYaJYuins3hx+
Tx8YWYpOK5xFraptswIDAQAB
-----END PUBLIC KEY-----
";

/// A worthless X25519 key, which cannot sign.
pub const X25519_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEIKhR0MPGhfK2Ne4RSpEdfsEcLU5uLsG2kJ4yc4bhMfpX
-----END PRIVATE KEY-----
";

/// The password of the encrypted keys.
pub const PASSWORD: &str = "correct horse";

/// What the fixed vectors sign.
pub const MESSAGE: &str = "the message of the fixed vectors";

/// The public half of another worthless RSA key.
pub const RSA_OTHER_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAnd+FcpE7JQzhwXadyD0e
g9M7QH3H85GEK+b1y6DJ4I0Clc7lp4OoGjGUwoi9LSph0J0Gknb5PF0YL7yruEtK
uC54nBAwlEgSVRUVxvgU9Pvzbjm+f2DNQ9InPGLhf8k9oESdyyq7X9GOsIx3IRKo
wRl8EpReDqG61QB6ShiezGUTCMjll7jRm2B9Se3q/Wh2n892DR4QvvUOi5R2ImMK
IR6VK6TkM0VtD8e3a1RW/uwflnw5bTl5uiwgOJRMPAkRnXQ3wDbSDdX+CFM1tVst
0xeuQhQIsUeupfvACoPnJp8xxj1NALEABV3SM/gsxc2kOCcOrZxrfxoahfjZfVOz
CQIDAQAB
-----END PUBLIC KEY-----
";

/// [`ED25519_PRIVATE`] as PKCS#8 version 2, which carries the public half too (RFC 8410, section 10.3).
pub const ED25519_PRIVATE_V2: &str = "\
-----BEGIN PRIVATE KEY-----
MFECAQEwBQYDK2VwBCIEILWRdP5C3YdnswQrRJtzhB6Y7AcVkaTAGyxiMvwOa0rA
gSEAJTTwAbF6q/Arehqs2LHL5Baue6nPYxkwM9D6509HzEo=
-----END PRIVATE KEY-----
";
