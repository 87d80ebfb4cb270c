"""The models that come with the package: small, trained by this project, offline on a CPU."""
